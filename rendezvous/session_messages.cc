#include "rendezvous/session_messages.h"

#include "base/bytes.h"

namespace closeranks::rendezvous {
namespace {

// A message is its place in the variant, then its fields.
template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

void PutOptionalState(ByteWriter& writer, const std::optional<WorkerState>& state) {
  writer.Put(state.has_value());
  Encode(state.value_or(WorkerState{}), writer);
}

std::optional<WorkerState> GetOptionalState(ByteReader& reader) {
  bool has_state = reader.Get<uint8_t>() != 0;
  WorkerState state = DecodeWorkerState(reader);
  return has_state ? std::optional(state) : std::nullopt;
}

template <typename Variant>
Result<Variant> Whole(const ByteReader& reader, Variant message) {
  if (!reader.AtEnd()) return InvalidArgument("a malformed message between worker and agent");
  return message;
}

Status Unknown() { return InvalidArgument("an unknown message between worker and agent"); }

}  // namespace

std::string Encode(const AgentMessage& message) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(message.index()));
  std::visit(Overloaded{[&](const Welcome& m) {
                          writer.PutString(m.job);
                          Encode(m.security, writer);
                          writer.Put(m.member);
                          writer.Put(m.starting_members);
                          writer.Put(m.most_computing);
                          writer.PutString(m.data_address);
                          writer.Put(static_cast<uint8_t>(m.pauses_are_ok));
                          writer.Put(static_cast<uint8_t>(m.progress_is_wanted));
                        },
                        [&](const Freeze& m) { writer.Put(m.generation); },
                        [&](const Install& m) { Encode(*m.decision, writer); },
                        [&](const Ended& m) {
                          writer.Put(static_cast<int>(m.exit_code));
                          writer.PutString(m.reason);
                          Encode(m.state, writer);
                        },
                        [&](const DataConnection& m) { writer.Put(m.from); },
                        [&](const Leave& m) { writer.Put(m.grace.count()); },
                        [&](const Lost& m) {
                          writer.Put(m.member);
                          writer.PutString(m.cause);
                          writer.Put(m.is_said);
                        },
                        [&](const Noticed& m) {
                          writer.Put(m.member);
                          writer.PutString(m.text);
                        },
                        [&](const FailingHeard& m) { writer.Put(m.first); }},
             message);
  return std::move(writer).bytes();
}

std::string Encode(const WorkerMessage& message) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(message.index()));
  std::visit(Overloaded{[&](const Hello& m) {
                          writer.Put(m.worker);
                          writer.Put(m.pid);
                        },
                        [&](const Ready& m) {
                          writer.PutString(m.card);
                          Encode(m.terms, writer);
                          PutOptionalState(writer, m.state);
                        },
                        [&](const Frozen& m) {
                          writer.Put(m.generation);
                          PutOptionalState(writer, m.state);
                        },
                        [&](const Failure& m) {
                          writer.Put(m.generation);
                          writer.Put(m.suspect);
                          writer.PutString(m.reason);
                          writer.Put(m.timed_out);
                        },
                        [&](const Done&) {}, [&](const LifelineEnd&) {}, [&](const Goodbye&) {},
                        [&](const FlightMemory&) {},
                        [&](const Notice& m) {
                          writer.PutString(m.text);
                          writer.Put(m.hangs);
                        },
                        [&](const Entered& m) { writer.Put(m.generation); },
                        [&](const Leaving& m) { writer.Put(m.now); },
                        [&](const Failing& m) {
                          writer.PutString(m.cause);
                          writer.Put(m.is_final);
                        },
                        [&](const Progress& m) {
                          writer.Put(m.step);
                          writer.Put(m.steps);
                          writer.Put(m.epoch);
                          writer.Put(m.committed);
                          writer.Put(m.loss);
                          writer.Put(m.samples);
                          writer.Put(m.ranks);
                          writer.Put(m.rank);
                        }},
             message);
  return std::move(writer).bytes();
}

Result<AgentMessage> DecodeAgentMessage(std::string_view bytes) {
  ByteReader reader(bytes);
  switch (reader.Get<uint8_t>()) {
    case 0: {
      Welcome m;
      m.job = reader.GetString();
      m.security = DecodeSecurity(reader);
      m.member = reader.Get<MemberId>();
      m.starting_members = reader.Get<int>();
      m.most_computing = reader.Get<int>();
      m.data_address = reader.GetString();
      m.pauses_are_ok = reader.Get<uint8_t>() != 0;
      m.progress_is_wanted = reader.Get<uint8_t>() != 0;
      return Whole<AgentMessage>(reader, m);
    }
    case 1: {
      Freeze m{reader.Get<Generation>()};
      return Whole<AgentMessage>(reader, m);
    }
    case 2: {
      Decision decision = DecodeDecision(reader);
      if (!reader.AtEnd()) return Whole<AgentMessage>(reader, Install{});
      RETURN_IF_ERROR(decision.Validate());
      return AgentMessage(Install{std::make_shared<const Decision>(std::move(decision))});
    }
    case 3: {
      Ended m;
      m.exit_code = static_cast<ExitCode>(reader.Get<int>());
      m.reason = reader.GetString();
      m.state = DecodeWorkerState(reader);
      return Whole<AgentMessage>(reader, m);
    }
    case 4: {
      DataConnection m{reader.Get<MemberId>()};
      return Whole<AgentMessage>(reader, m);
    }
    case 5: {
      Leave m{Duration(reader.Get<Duration::rep>())};
      return Whole<AgentMessage>(reader, m);
    }
    case 6: {
      Lost m;
      m.member = reader.Get<MemberId>();
      m.cause = reader.GetString();
      m.is_said = reader.Get<uint8_t>() != 0;
      return Whole<AgentMessage>(reader, m);
    }
    case 7: {
      Noticed m;
      m.member = reader.Get<MemberId>();
      m.text = reader.GetString();
      return Whole<AgentMessage>(reader, m);
    }
    case 8: {
      FailingHeard m{reader.Get<MemberId>()};
      return Whole<AgentMessage>(reader, m);
    }
    default:
      return Unknown();
  }
}

Result<WorkerMessage> DecodeWorkerMessage(std::string_view bytes) {
  ByteReader reader(bytes);
  switch (reader.Get<uint8_t>()) {
    case 0: {
      Hello m;
      m.worker = reader.GetIncarnation();
      m.pid = reader.Get<int64_t>();
      return Whole<WorkerMessage>(reader, m);
    }
    case 1: {
      Ready m;
      m.card = reader.GetString();
      m.terms = DecodeTerms(reader);
      m.state = GetOptionalState(reader);
      return Whole<WorkerMessage>(reader, m);
    }
    case 2: {
      Frozen m;
      m.generation = reader.Get<Generation>();
      m.state = GetOptionalState(reader);
      return Whole<WorkerMessage>(reader, m);
    }
    case 3: {
      Failure m;
      m.generation = reader.Get<Generation>();
      m.suspect = reader.GetMemberProcess();
      m.reason = reader.GetString();
      m.timed_out = reader.Get<uint8_t>() != 0;
      return Whole<WorkerMessage>(reader, m);
    }
    case 4:
      return Whole<WorkerMessage>(reader, Done{});
    case 5: {
      Progress m;
      m.step = reader.Get<StepNumber>();
      m.steps = reader.Get<StepNumber>();
      m.epoch = reader.Get<int32_t>();
      m.committed = reader.Get<uint8_t>() != 0;
      m.loss = reader.Get<double>();
      m.samples = reader.Get<int64_t>();
      m.ranks = reader.Get<int32_t>();
      m.rank = reader.Get<int32_t>();
      return Whole<WorkerMessage>(reader, m);
    }
    case 6:
      return Whole<WorkerMessage>(reader, LifelineEnd{});
    case 7:
      return Whole<WorkerMessage>(reader, Goodbye{});
    case 8: {
      Entered m{reader.Get<Generation>()};
      return Whole<WorkerMessage>(reader, m);
    }
    case 9: {
      Leaving m{reader.Get<uint8_t>() != 0};
      return Whole<WorkerMessage>(reader, m);
    }
    case 10: {
      Failing m;
      m.cause = reader.GetString();
      m.is_final = reader.Get<uint8_t>() != 0;
      return Whole<WorkerMessage>(reader, m);
    }
    case 11:
      return Whole<WorkerMessage>(reader, FlightMemory{});
    case 12: {
      Notice m;
      m.text = reader.GetString();
      m.hangs = reader.Get<uint8_t>() != 0;
      return Whole<WorkerMessage>(reader, m);
    }
    default:
      return Unknown();
  }
}

}  // namespace closeranks::rendezvous
