"""Mistakes that are planted in elastic steps to show that the simulation of whole jobs finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in one source.
PLANTED_MISTAKES = {
    "answer_during_update": "step_gate.cc",
    "apply_after_answer": "step_gate.cc",
    "end_without_the_state": "step_gate.cc",
    "line_left_open": "peer_connections.cc",
    "outdated_line_kept": "peer_connections.cc",
    "record_before_stable": "ledger.cc",
    "repeated_parts_kept": "parts.cc",
    "standing_by_step_alone": "catch_up.cc",
    "undone_record_kept": "ledger.cc",
    "world_opened_after_answer": "worker.cc",
}
