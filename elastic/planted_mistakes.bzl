"""Mistakes planted in elastic steps, to show that the simulation of whole jobs finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in one source.
PLANTED_MISTAKES = {
    "answer_during_update": "step_gate.cc",
    "apply_after_answer": "step_gate.cc",
    "end_without_the_state": "step_gate.cc",
    "joined_mid_step": "step_loop_transfer.cc",
    "left_before_applied": "step_loop_end.cc",
    "line_left_open": "peer_connections.cc",
    "outdated_line_kept": "peer_connections.cc",
    "record_before_stable": "ledger.cc",
    "records_not_sent": "step_loop_transfer.cc",
    "repeated_parts_kept": "parts.cc",
    "standing_by_step_alone": "catch_up.cc",
    "torn_sums_kept": "step_loop_world.cc",
    "undone_record_kept": "ledger.cc",
    "undone_steps_heard": "state_transfer.cc",
    "world_opened_after_answer": "worker.cc",
}
