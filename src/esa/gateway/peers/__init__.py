"""Looking at other servers' TLS: one connection (`probe`), what DNS promises of it (`dane`, `mta_sts`), and a whole domain (`domain`)."""
