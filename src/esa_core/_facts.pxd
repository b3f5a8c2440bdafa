from esa_core._types cimport Document
from esa_core._words cimport Table

# The facts: numbers, each finite. Density: sqrt(hits / (words + 25)). Share: 0 to 1. Mark: 0 or 1. The names are public, in lower case.
cpdef enum Fact:
    # content: what the message says
    TEXT_MONEY
    TEXT_FINANCE
    TEXT_URGENCY
    TEXT_CREDENTIAL
    TEXT_PHARMA
    TEXT_SEX
    TEXT_ADVANCE_FEE
    TEXT_HYPE
    TEXT_OFFER
    TEXT_GAMBLING
    TEXT_HEALTH
    TEXT_WORK_AT_HOME
    TEXT_OUTREACH
    TEXT_REMOVAL
    TEXT_GUARANTEE
    TEXT_CALL_TO_ACTION
    TEXT_SECRECY
    TEXT_PARCEL
    TEXT_SECOND_PERSON
    TEXT_DEAR_CUSTOMER
    TEXT_ACCOUNT_THREAT
    TEXT_CONGRATULATIONS
    TEXT_TECHNICAL
    TEXT_CONVERSATIONAL
    TEXT_TRANSACTIONAL
    TEXT_FOOTER
    TEXT_FIRST_PERSON
    SUBJECT_LURE                 # words of money, finance, pharma, sex, advance fee, hype, gambling, health, work: hits, at most 3
    SUBJECT_URGENCY
    SUBJECT_CREDENTIAL
    SUBJECT_OFFER
    SUBJECT_PARCEL
    SUBJECT_SECOND_PERSON
    SUBJECT_TECHNICAL
    SUBJECT_CONVERSATIONAL
    SUBJECT_TRANSACTIONAL
    SUBJECT_CAPITALS             # share of letters
    SUBJECT_SHOUTED              # mark: every word of two or more in capitals
    SUBJECT_EXCLAMATIONS
    SUBJECT_QUESTIONS
    SUBJECT_CURRENCY
    SUBJECT_PERCENT
    SUBJECT_SIGNS                # emoji and other signs: number, at most 3
    SUBJECT_STYLED               # mark: letters from the mathematical or enclosed alphabets
    SUBJECT_MIXED_SCRIPT         # mark: Latin and Cyrillic or Greek letters within one word
    SUBJECT_CODE                 # mark: ends in a number or a code
    SUBJECT_EMPTY                # mark
    NAME_LURE                    # the display name holds words of a lure, urgency, credential or offer: hits, at most 3
    NAME_SIGNS                   # the display name holds signs, digits or "!": number, at most 3
    NAME_CAPITALS                # mark: display name of more than three letters in capitals
    TEXT_CAPITALS                # share of letters
    TEXT_EXCLAMATIONS            # density
    TEXT_EXCLAMATION_RUNS        # mark: "!!"
    TEXT_CURRENCY                # density
    TEXT_PERCENT                 # density
    TEXT_LARGE_AMOUNT            # mark: an amount of 100,000 or more, or millions
    TEXT_STYLED                  # density
    TEXT_MIXED_SCRIPT            # density
    TEXT_BROKEN_WORDS            # mark: invisible characters between the letters of a word
    TEXT_QUESTIONS               # density
    TEXT_SENTENCE_LENGTH         # words per sentence, log2, at most 6
    TEXT_BARE_LINK               # mark: fewer than 20 words and a link
    # relation: how what the message says of itself fits together
    REPLY_ELSEWHERE              # mark: Reply-To of another organisation than From
    REPLY_FREE_MAIL              # mark: Reply-To at a free mail provider, From not, or another one
    FROM_FREE_MAIL               # mark
    FROM_FREE_MAIL_BULK          # mark: free mail provider and mail type 2
    FROM_MISSING                 # mark: no usable address
    FROM_ODD_ENDING              # mark: top-level domain that is often given away or abused
    FROM_DIGITS                  # share of digits in local part and domain label
    FROM_RANDOM                  # mark: local part or domain label with five consonants or a mix of letters and digits
    FROM_HYPHENS                 # hyphens in the registrable label, at most 2
    FROM_LABEL_WORDS             # mark: the registrable label is made of two or more dictionary words
    FROM_FREE_HOSTING            # mark: From domain of a hosting service open to anyone
    NAME_MISSING                 # mark
    NAME_ADDRESS                 # mark: the display name holds an address or domain of another organisation
    NAME_IS_ADDRESS              # mark: the display name is the address itself
    NAME_LONG                    # words of the display name above 3, at most 3
    NAME_WORDS                   # mark: the display name is of dictionary words only and shares nothing with the domain
    NAME_LOWER                   # mark: two or more words without a capital letter
    NAME_ROLE                    # mark: the name claims a role (support, team, security) and shares nothing with the domain
    NAME_BRAND_FOREIGN           # mark: a brand in the name, the domain is not the brand's
    SUBJECT_BRAND_FOREIGN
    TEXT_BRAND_FOREIGN           # mark: a brand in the first words of the text, neither From nor any link of the brand
    LINK_BRAND_FOREIGN           # mark: a brand in the host name of a link that is not the brand's
    BRAND_OWN                    # mark: From is of a known brand's domain and no Reply-To leads elsewhere
    TO_MISSING                   # mark: no recipient in To
    TO_NAME                      # mark: the recipient's display name stands in To
    TO_IS_FROM                   # mark
    GREETED_BY_NAME              # mark: the display name of To stands in the first words
    GREETED_BY_ADDRESS           # mark: a greeting to the local part of To, where that is a role or holds a digit
    SUBJECT_ADDRESS              # mark: the local part or domain of To stands in the subject
    NAME_DOMAIN_COMMON           # share: longest common part of display name and registrable label
    NAME_LOCAL_COMMON            # share: longest common part of display name and local part
    NAME_IN_TEXT                 # mark: words of the display name in the text
    NAME_SIGNED                  # mark: in the last words of the text
    NAME_IN_LINKS                # mark: the longest name word, or the joined name, in the host name of a link
    NAME_IN_SUBJECT              # mark: the subject repeats the display name, which shares nothing with the domain
    NAME_IN_ALT                  # mark: name or label in the alternative text of an image
    LABEL_IN_TEXT                # mark: the registrable label of From in the text
    LABEL_IN_FOOTER              # mark: in the last part of the text
    LABEL_IN_COPYRIGHT           # mark: label or name behind a copyright sign
    # An own domain counts only if it is named: in the display name, in the text as seen, or as a known brand. Anyone can own a domain.
    LINK_OWN_SHARE               # share of links to the registrable domain of From
    LINK_OWN                     # mark: some link to it
    LINK_TOP_OWN                 # mark: the most frequent registrable domain of links is From's, or shares its label
    LINK_TOP_LABEL_COMMON        # share: longest common part of that domain's label and From's label or name
    LINK_TOP_SHARE_FOREIGN       # share of links to the most frequent domain, if that is not From's
    LINK_DOMAINS                 # log2(1 + distinct registrable domains)
    LINK_PATHS                   # share: distinct targets of all links, four usual links added
    LINK_ADDRESS                 # mark: numeric host
    LINK_PORT                    # mark
    LINK_USER                    # mark: user information before the host
    LINK_PUNYCODE                # mark
    LINK_SHORTENER               # mark
    LINK_FREE_HOSTING            # mark
    LINK_ODD_ENDING              # share
    LINK_SHOWN_ELSEWHERE         # mark: shows one domain, not From's, and leads to another
    LINK_HYPHENS                 # share of links to a registrable label with a hyphen
    LINK_CREDENTIAL              # mark: words of log-in or verification in the host
    SOCIAL_OWN                   # mark: the path of a link to a social network names label or name
    LINK_SOCIAL                  # links to social networks: number, at most 4
    UNSUBSCRIBE_OWN              # mark: a link to unsubscribe at From's domain or label
    FORM                         # mark
    IMAGE_ALT                    # share of images with an alternative text
    IMAGE_OWN                    # share of images at From's registrable domain
    IMAGE_TEXTLESS               # mark: images and fewer than 20 words
    HTML_LANGUAGE                # mark: a lang attribute
    ATTACHED_PAGE                # mark: an attached HTML page
    ATTACHED_PROGRAM             # mark: an attachment whose name ends as programs' do
    MAIL_TYPE                    # 0 no HTML, 1 HTML with fewer than five links, 2 HTML with five or more
    N_FACTS

cdef int extract_facts_of(const Document *document, const Table *lexicon, float *facts) noexcept nogil
