"""Whether rules are still of use: what never acts and why, with proofs. Pure; `esa filters audit` and `esa filters merge` gather what it needs."""
