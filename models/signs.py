"""The two hand-signed cards: which facts speak for spam, which against. Signs are judgement and are never learned.

*Content* is what a message says, *relation* is who says it to whom and whether its parts belong together. What a fact measures
stands beside its name in `esa_core._facts`. A fact that is on no card (the mail type) chooses the weights.
"""

from __future__ import annotations

from esa_core import FACT_NAMES


def _card(speaks_for: str, speaks_against: str) -> dict[str, int]:
    card = dict.fromkeys(speaks_for.split(), 1) | dict.fromkeys(speaks_against.split(), -1)
    unknown = card.keys() - set(FACT_NAMES)
    if unknown:
        raise ValueError(f"no fact is called {', '.join(sorted(unknown))}")
    return card


CONTENT = _card(
    """
    text_money text_finance text_urgency text_credential text_pharma text_sex text_advance_fee text_hype text_offer text_gambling
    text_health text_work_at_home text_outreach text_removal text_guarantee text_call_to_action text_secrecy text_parcel
    text_second_person text_dear_customer text_account_threat text_congratulations subject_lure subject_urgency subject_credential
    subject_offer subject_parcel subject_second_person subject_capitals subject_shouted subject_exclamations subject_currency
    subject_percent subject_signs subject_styled subject_mixed_script subject_code subject_empty name_lure name_signs
    name_capitals text_capitals text_exclamations text_exclamation_runs text_currency text_percent text_large_amount text_styled
    text_mixed_script text_broken_words text_bare_link
    """,
    """
    text_technical text_conversational text_transactional text_footer text_first_person subject_technical subject_conversational
    subject_transactional subject_questions text_questions text_sentence_length
    """,
)


RELATION = _card(
    """
    reply_elsewhere reply_free_mail from_free_mail from_free_mail_bulk from_missing from_odd_ending from_digits from_random
    from_hyphens from_label_words from_free_hosting name_missing name_address name_is_address name_long name_words name_lower
    name_role name_brand_foreign subject_brand_foreign text_brand_foreign link_brand_foreign to_missing to_is_from
    greeted_by_address subject_address name_in_subject link_top_share_foreign link_address link_port link_user link_punycode
    link_shortener link_free_hosting link_odd_ending link_shown_elsewhere link_hyphens link_credential form image_textless
    attached_page attached_program
    """,
    """
    brand_own to_name greeted_by_name name_domain_common name_local_common name_in_text name_signed name_in_links name_in_alt
    label_in_text label_in_footer label_in_copyright link_own_share link_own link_top_own link_top_label_common link_domains
    link_paths social_own link_social unsubscribe_own image_alt image_own html_language
    """,
)
