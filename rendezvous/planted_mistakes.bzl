"""Mistakes that are planted in the protocol to show that the simulation finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in these sources of :membership.
PLANTED_MISTAKES = {
    "displaced_forgotten": ["membership_value.cc"],
    "end_not_stored": ["membership_learner.cc"],
    "floor_ignored": ["membership_value.cc"],
    "freeze_skipped": ["membership_voter.cc"],
    "generation_unchecked": ["membership_learner.cc"],
    "installed_before_stored": ["membership_learner.cc"],
    "joiner_counted_as_holder": ["membership_value.cc"],
    "minimum_ignored": ["membership_learner.cc"],
    "obligation_ignored": ["membership_drive.cc"],
    "promise_forgotten": ["membership_acceptor.cc"],
    "promise_withdrawn": ["membership_learner.cc"],
    "quorum_off_by_one": ["decision.cc"],
    "resume_by_step_alone": ["membership_value.cc"],
    "terms_ignored": ["membership_value.cc"],
    "votes_bound_to_members": [
        "decision.cc",
        "membership_drive.cc",
    ],
}
