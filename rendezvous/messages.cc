#include "rendezvous/messages.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace closeranks::rendezvous {
namespace {

// Raised with every change of the format. The handshake compares builds before it comes to this.
constexpr uint8_t kVersion = 6;

constexpr std::array<std::string_view, 9> kKindNames = {
    "Status", "Prepare", "Promise", "Reject", "Accept", "Accepted", "Decided", "Loss", "Notice"};
static_assert(kKindNames.size() == std::variant_size_v<MessageBody>);

// Reads one message; what is well formed but senseless is noted in `status_`.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : reader_(bytes) {}

  Result<Message> Decode() {
    if (auto version = reader_.Get<uint8_t>(); version != kVersion) {
      return InvalidArgument("membership message of version " + std::to_string(version));
    }
    auto kind = reader_.Get<uint8_t>();
    Message message;
    message.from = reader_.GetMemberProcess();
    message.to = reader_.GetIncarnation();
    message.lineage = reader_.GetIncarnation();
    message.generation = reader_.Get<Generation>();
    if (kind >= kKindNames.size()) {
      return InvalidArgument("membership message of kind " + std::to_string(kind));
    }
    ReadBody(kind, message);
    if (!status_.ok()) return status_.WithContext(kKindNames[kind]);
    if (!reader_.AtEnd()) {
      return InvalidArgument(std::string(kKindNames[kind]) + " message of a wrong length");
    }
    if (message.from.member < 0 || message.from.incarnation.IsNone()) {
      return InvalidArgument("membership message from nobody");
    }
    if (message.lineage.IsNone() != (message.generation == 0)) {
      return InvalidArgument("a generation without a lineage, or the reverse");
    }
    return message;
  }

 private:
  void ReadBody(uint8_t kind, Message& message) {
    switch (kind) {
      case 0: {
        StatusMessage body;
        body.sequence = reader_.Get<uint64_t>();
        body.agent = ReadReport();
        body.promised_next = ReadFlag();
        body.installed = ReadFlag();
        body.watches = ReadFlag();
        body.hears = ReadFlag();
        message.body = std::move(body);
        return;
      }
      case 1:
        message.body = PrepareMessage{ReadBallot()};
        return;
      case 2: {
        PromiseMessage body;
        body.ballot = ReadBallot();
        if (ReadFlag()) {
          Ballot ballot = ReadBallot();
          body.accepted = AcceptedValue{ballot, ReadDecision()};
        }
        body.agent = ReadReport();
        body.card = reader_.GetString();
        if (body.card.size() > kMaxCardBytes) status_ = InvalidArgument("its card is too long");
        body.terms = DecodeTerms(reader_);
        if (body.terms.bytes() > kMaxTermsBytes)
          status_ = InvalidArgument("its terms are too long");
        if (ReadFlag()) body.state = DecodeWorkerState(reader_);
        body.started = Duration(reader_.Get<int64_t>());
        message.body = std::move(body);
        return;
      }
      case 3: {
        Ballot refused = ReadBallot();
        message.body = RejectMessage{refused, ReadBallot()};
        return;
      }
      case 4: {
        Ballot ballot = ReadBallot();
        message.body = AcceptMessage{ballot, ReadDecision()};
        return;
      }
      case 5:
        message.body = AcceptedMessage{ReadBallot()};
        return;
      case 6:
        message.body = DecidedMessage{ReadDecision()};
        return;
      case 7: {
        LossMessage body;
        body.cause = reader_.GetString();
        if (body.cause.size() > kMaxCauseBytes) status_ = InvalidArgument("its cause is too long");
        body.worker = reader_.GetIncarnation();
        body.part = ReadPart();
        message.body = std::move(body);
        return;
      }
      default: {
        NoticeMessage body{reader_.GetString()};
        if (body.text.size() > kMaxNoticeBytes) status_ = InvalidArgument("its text is too long");
        message.body = std::move(body);
        return;
      }
    }
  }

  BatchPart ReadPart() {
    BatchPart part;
    part.step = reader_.Get<StepNumber>();
    part.begin = reader_.Get<int32_t>();
    part.end = reader_.Get<int32_t>();
    part.samples.resize(reader_.GetCount(sizeof(int64_t)));
    for (int64_t& sample : part.samples) sample = reader_.Get<int64_t>();
    const bool is_one = part.begin >= 0 && part.end >= part.begin &&
                        part.samples.size() <= BatchPart::kMostSamples &&
                        part.samples.size() <= static_cast<size_t>(part.end - part.begin);
    if (!is_one) status_ = InvalidArgument("its part is none of a batch");
    return part;
  }

  bool ReadFlag() {
    auto flag = reader_.Get<uint8_t>();
    if (flag > 1) status_ = InvalidArgument("a flag is neither 0 nor 1");
    return flag == 1;
  }

  Ballot ReadBallot() {
    Ballot ballot;
    ballot.round = reader_.Get<uint64_t>();
    ballot.proposer = reader_.Get<MemberId>();
    ballot.supervisor = reader_.GetIncarnation();
    return ballot;
  }

  AgentReport ReadReport() {
    AgentReport report;
    report.worker = reader_.GetIncarnation();
    report.witness = ReadFlag();
    report.leaving = ReadFlag();
    report.entered = ReadFlag();
    report.done = ReadFlag();
    report.wants_generation = ReadFlag();
    report.freezing = ReadFlag();
    report.lacks.resize(reader_.GetCount(sizeof(MemberId)));
    for (MemberId& member : report.lacks) member = reader_.Get<MemberId>();
    if (!std::is_sorted(report.lacks.begin(), report.lacks.end())) {
      status_ = InvalidArgument("whom it lacks isn't in ascending order");
    }
    return report;
  }

  DecisionRef ReadDecision() {
    auto decision = std::make_shared<Decision>(DecodeDecision(reader_));
    if (!reader_.failed() && status_.ok()) status_ = decision->Validate();
    return decision;
  }

  ByteReader reader_;
  Status status_;
};

void Put(ByteWriter& writer, Ballot ballot) {
  writer.Put(ballot.round);
  writer.Put(ballot.proposer);
  writer.Put(ballot.supervisor);
}

void PutFlag(ByteWriter& writer, bool flag) { writer.Put(static_cast<uint8_t>(flag)); }

void Put(ByteWriter& writer, const AgentReport& report) {
  writer.Put(report.worker);
  PutFlag(writer, report.witness);
  PutFlag(writer, report.leaving);
  PutFlag(writer, report.entered);
  PutFlag(writer, report.done);
  PutFlag(writer, report.wants_generation);
  PutFlag(writer, report.freezing);
  writer.Put(static_cast<uint32_t>(report.lacks.size()));
  for (MemberId member : report.lacks) writer.Put(member);
}

void PutBody(ByteWriter& writer, const StatusMessage& body) {
  writer.Put(body.sequence);
  Put(writer, body.agent);
  PutFlag(writer, body.promised_next);
  PutFlag(writer, body.installed);
  PutFlag(writer, body.watches);
  PutFlag(writer, body.hears);
}

void PutBody(ByteWriter& writer, const PrepareMessage& body) { Put(writer, body.ballot); }

void PutBody(ByteWriter& writer, const PromiseMessage& body) {
  Put(writer, body.ballot);
  PutFlag(writer, body.accepted.has_value());
  if (body.accepted.has_value()) {
    Put(writer, body.accepted->ballot);
    Encode(*body.accepted->value, writer);
  }
  Put(writer, body.agent);
  writer.PutString(body.card);
  Encode(body.terms, writer);
  PutFlag(writer, body.state.has_value());
  if (body.state.has_value()) Encode(*body.state, writer);
  writer.Put(static_cast<int64_t>(body.started.count()));
}

void PutBody(ByteWriter& writer, const RejectMessage& body) {
  Put(writer, body.ballot);
  Put(writer, body.promised);
}

void PutBody(ByteWriter& writer, const AcceptMessage& body) {
  Put(writer, body.ballot);
  Encode(*body.value, writer);
}

void PutBody(ByteWriter& writer, const AcceptedMessage& body) { Put(writer, body.ballot); }

void PutBody(ByteWriter& writer, const DecidedMessage& body) { Encode(*body.decision, writer); }

void PutBody(ByteWriter& writer, const LossMessage& body) {
  writer.PutString(body.cause);
  writer.Put(body.worker);
  writer.Put(body.part.step);
  writer.Put(body.part.begin);
  writer.Put(body.part.end);
  writer.Put(static_cast<uint32_t>(body.part.samples.size()));
  for (int64_t sample : body.part.samples) writer.Put(sample);
}

void PutBody(ByteWriter& writer, const NoticeMessage& body) { writer.PutString(body.text); }

}  // namespace

std::string Encode(const Message& message) {
  ByteWriter writer;
  writer.Put(kVersion);
  writer.Put(static_cast<uint8_t>(message.body.index()));
  writer.Put(message.from);
  writer.Put(message.to);
  writer.Put(message.lineage);
  writer.Put(message.generation);
  std::visit([&writer](const auto& body) { PutBody(writer, body); }, message.body);
  return std::move(writer).bytes();
}

Result<Message> DecodeMessage(std::string_view bytes) { return Decoder(bytes).Decode(); }

std::string_view KindName(const Message& message) { return kKindNames[message.body.index()]; }

std::ostream& operator<<(std::ostream& out, const Ballot& ballot) {
  return out << ballot.round << "." << ballot.proposer;
}

}  // namespace closeranks::rendezvous
