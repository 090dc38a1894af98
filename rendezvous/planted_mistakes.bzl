"""Mistakes that are planted in the protocol to show that the simulation finds them."""

# Each is a define, CLOSERANKS_PLANT_ and this, in the sources of :membership.
PLANTED_MISTAKES = [
    "displaced_forgotten",
    "end_not_stored",
    "floor_ignored",
    "freeze_skipped",
    "generation_unchecked",
    "installed_before_stored",
    "joiner_counted_as_holder",
    "minimum_ignored",
    "obligation_ignored",
    "promise_forgotten",
    "promise_withdrawn",
    "quorum_off_by_one",
    "resume_by_step_alone",
    "terms_ignored",
    "votes_bound_to_members",
]
