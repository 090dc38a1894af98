// How the state comes to who joins while the others step (state_transfer.h): when it begins, goes
// on and ends, as a rank goes from step to step.
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "elastic/checkpoint/safetensors.h"
#include "elastic/step_loop.h"

namespace closeranks::elastic {

Status StepLoop::BeginTransfer(std::vector<bool> listeners, bool at_once, bool leaves,
                               bool was_behind, bool anew) {
  const bool listened = transfer_.listens();
  StateTransfer::Source source{
      world_->decision->resume, run_state_, {}, at_once, leaves, was_behind};
  if (anew) source.state = listened ? transfer_.heard() : gate_.state();
  if (options_.checkpointer != nullptr) source.lineage = options_.checkpointer->lineage();
  if (!listened) listening_since_ = clock_.Now();
  RETURN_IF_ERROR(transfer_.Begin(*world_->communicator, std::move(listeners), source, anew));
  if (transfer_.sources_differ()) RETURN_IF_ERROR(AuditState(transfer_.not_compared()));
  if (transfer_.is_new()) settings_ = replica_.SettingsHash();
  ASSIGN_OR_RETURN(
      sent_lines_,
      GatherBytes(*world_->communicator, transfer_.listens() ? std::string() : ledger_.Unstable()));
  return OkStatus();
}

Status StepLoop::CompleteTransfer() {
  while (!transfer_.confirmed()) {
    transfer_.StartChunk(*world_->communicator);
    RETURN_IF_ERROR(transfer_.FinishChunk());
  }
  if (transfer_.listens()) RETURN_IF_ERROR(LoadTransferred());
  transfer_.End();
  return OkStatus();
}

Status StepLoop::LoadTransferred() {
  RETURN_IF_ERROR(transfer_.CheckReceived());
  ASSIGN_OR_RETURN(Safetensors state, DecodeSafetensors(transfer_.bytes()));
  RETURN_IF_ERROR(TakeState(state.pieces, transfer_.state(), transfer_.lineage()));
#ifndef CLOSERANKS_PLANT_RECORDS_NOT_SENT
  for (const std::string& lines : sent_lines_) {
    RETURN_IF_ERROR(ledger_.Take(lines, transfer_.state().applied));
  }
#endif
  for (const StateTransfer::HeardStep& heard : transfer_.steps()) {
#ifdef CLOSERANKS_PLANT_JOINED_MID_STEP
    if (&heard == &transfer_.steps().back()) break;
#endif
    if (!gate_.BeginApply(world_->world.generation)) {
      return StaleGeneration("the world changed during the transfer");
    }
    const std::vector<Buffer> buffers = replica_.ReducedGradients(heard.state.applied);
    for (size_t i = 0; i < buffers.size(); ++i) {
      std::memcpy(buffers[i].data, heard.gradients[i].data(), heard.gradients[i].size());
    }
    RETURN_IF_ERROR(ApplyReduced(heard.state.applied, heard.state.reduced_in, heard.samples));
  }
  observer_.OnTransfer(*world_, transfer_.bytes().size(), listening_since_, clock_.Now());
  transfer_.Loaded();
  return OkStatus();
}

// The next chunk is then under way while the next step is computed.
Status StepLoop::AdvanceTransfer(bool holders_stay, bool settings_changed) {
  if (transfer_.confirmed()) {
    transfer_.End();
    return OkStatus();
  }
  const bool listened = transfer_.listens();
  if (settings_changed) {
    RETURN_IF_ERROR(BeginTransfer(transfer_.listeners(), /*at_once=*/true, /*leaves=*/false,
                                  /*was_behind=*/false, /*anew=*/true));
    RETURN_IF_ERROR(CompleteTransfer());
  } else if (!holders_stay || step_ == batches_.steps()) {
    // Not all who have everything go, and nobody ends, before everyone has it.
    RETURN_IF_ERROR(CompleteTransfer());
  } else if (listened && transfer_.received()) {
    RETURN_IF_ERROR(LoadTransferred());
  }
  if (listened && !transfer_.listens()) {
    if (options_.report_entered) options_.report_entered(world_->world.generation);
    const TimePoint now = clock_.Now();
    observer_.OnWorld(*world_, {.resumed_from = gate_.state().applied,
                                .asked = listening_since_,
                                .transfer_begin = listening_since_,
                                .transfer_end = now,
                                .entered = now});
  }
  if (transfer_.active()) transfer_.StartChunk(*world_->communicator);
  return OkStatus();
}

}  // namespace closeranks::elastic
