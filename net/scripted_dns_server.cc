#include "net/scripted_dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <sstream>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

// What fits into a datagram without extensions (RFC 1035).
constexpr size_t kMostOverUdp = 512;
constexpr size_t kHeader = 12;

void Put16(std::string& message, unsigned value) {
  message.push_back(static_cast<char>(value >> 8));
  message.push_back(static_cast<char>(value));
}

unsigned Get16(const std::string& message, size_t at) {
  return static_cast<unsigned char>(message[at]) << 8 | static_cast<unsigned char>(message[at + 1]);
}

std::string EncodeName(const std::string& name) {
  std::string encoded;
  std::istringstream labels(name);
  for (std::string label; std::getline(labels, label, '.');) {
    encoded.push_back(static_cast<char>(label.size()));
    encoded += label;
  }
  return encoded + '\0';
}

std::string Record(unsigned type, const std::string& data) {
  std::string record;
  Put16(record, 0xc000 | kHeader);  // the name of the question
  Put16(record, type);
  Put16(record, 1);  // IN
  record.append(2, '\0');
  Put16(record, 30);  // seconds to live
  Put16(record, static_cast<unsigned>(data.size()));
  return record + data;
}

UniqueFd Open(int type, uint16_t port, sockaddr_in& address) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  PCHECK(fd.get() >= 0);
  address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return UniqueFd();
  socklen_t length = sizeof address;
  PCHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return fd;
}

}  // namespace

ScriptedDnsServer::ScriptedDnsServer(Loop& loop, Script script)
    : loop_(loop), script_(std::move(script)) {
  // The same number must be free for both.
  sockaddr_in address;
  for (int attempt = 0; attempt < 100 && datagrams_.get() < 0; ++attempt) {
    listener_ = Open(SOCK_STREAM, 0, address);
    datagrams_ = Open(SOCK_DGRAM, ntohs(address.sin_port), address);
  }
  CHECK_GE(datagrams_.get(), 0) << "no port is free for both UDP and TCP";
  PCHECK(listen(listener_.get(), 8) == 0);
  address_ = Address::Ip("127.0.0.1", ntohs(address.sin_port));
  CHECK(loop_.Watch(datagrams_.get(), {.readable = true}, [this](Ready) { OnDatagram(); }).ok());
  CHECK(loop_
            .Watch(listener_.get(), {.readable = true},
                   [this](Ready) {
                     UniqueFd fd(
                         accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
                     if (fd.get() < 0) return;
                     auto caller = callers_.insert(callers_.end(), Caller{std::move(fd), ""});
                     CHECK(loop_
                               .Watch(caller->fd.get(), {.readable = true},
                                      [this, caller](Ready) { OnCaller(caller); })
                               .ok());
                   })
            .ok());
}

ScriptedDnsServer::~ScriptedDnsServer() {
  for (Caller& caller : callers_) loop_.Unwatch(caller.fd.get());
  loop_.Unwatch(datagrams_.get());
  loop_.Unwatch(listener_.get());
}

void ScriptedDnsServer::OnDatagram() {
  std::array<char, 2048> buffer;
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const ssize_t size = recvfrom(datagrams_.get(), buffer.data(), buffer.size(), 0,
                                reinterpret_cast<sockaddr*>(&from), &length);
  if (size < static_cast<ssize_t>(kHeader)) return;
  Duration delay{};
  const std::string reply =
      Answer(std::string(buffer.data(), static_cast<size_t>(size)), false, delay);
  if (reply.empty()) return;
  SendLater(delay, [this, reply, from, length] {
    sendto(datagrams_.get(), reply.data(), reply.size(), 0,
           reinterpret_cast<const sockaddr*>(&from), length);
  });
}

void ScriptedDnsServer::OnCaller(std::list<Caller>::iterator caller) {
  std::array<char, 2048> buffer;
  const ssize_t size = recv(caller->fd.get(), buffer.data(), buffer.size(), 0);
  if (size <= 0) {
    loop_.Unwatch(caller->fd.get());
    callers_.erase(caller);
    return;
  }
  caller->received.append(buffer.data(), static_cast<size_t>(size));
  if (caller->received.size() < 2) return;
  const size_t whole = 2 + Get16(caller->received, 0);
  if (caller->received.size() < whole) return;
  const std::string query = caller->received.substr(2, whole - 2);
  caller->received.erase(0, whole);
  Duration delay{};
  const std::string reply = Answer(query, true, delay);
  if (reply.empty()) return;
  std::string framed;
  Put16(framed, static_cast<unsigned>(reply.size()));
  framed += reply;
  SendLater(delay, [this, fd = caller->fd.get(), framed] {
    for (const Caller& other : callers_) {
      if (other.fd.get() == fd) send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
    }
  });
}

void ScriptedDnsServer::SendLater(Duration delay, std::function<void()> send) {
  loop_.RunAfter(delay, [alive = std::weak_ptr<const bool>(alive_), send = std::move(send)] {
    if (!alive.expired()) send();
  });
}

std::string ScriptedDnsServer::Answer(const std::string& query, bool over_tcp, Duration& delay) {
  Question question;
  question.over_tcp = over_tcp;
  size_t at = kHeader;
  while (at < query.size() && query[at] != '\0') {
    const auto length = static_cast<size_t>(query[at]);
    if (!question.name.empty()) question.name += ".";
    question.name += query.substr(at + 1, length);
    at += 1 + length;
  }
  if (at + 5 > query.size()) return "";
  question.type = static_cast<Type>(Get16(query, at + 1));
  questions_.push_back(question);
  const Reply reply = script_(question);
  delay = reply.delay;
  if (reply.is_silent) return "";
  if (reply.is_garbage) return std::string(40, '\xff');

  std::vector<std::string> records;
  for (const std::string& literal : reply.addresses) {
    std::array<char, 16> bytes;
    const bool is_v6 = literal.find(':') != std::string::npos;
    const Type type = is_v6 ? Type::kAaaa : Type::kA;
    if (type != question.type) continue;
    CHECK_EQ(inet_pton(is_v6 ? AF_INET6 : AF_INET, literal.c_str(), bytes.data()), 1) << literal;
    records.push_back(
        Record(static_cast<unsigned>(type), std::string(bytes.data(), is_v6 ? 16 : 4)));
  }
  if (question.type == Type::kSrv) {
    for (const Service& service : reply.services) {
      std::string data(4, '\0');  // priority and weight
      Put16(data, service.port);
      records.push_back(
          Record(static_cast<unsigned>(Type::kSrv), data + EncodeName(service.target)));
    }
  }
  const std::string asked = query.substr(kHeader, at + 5 - kHeader);
  std::string body = asked;
  for (const std::string& record : records) body += record;
  const bool is_cut = !over_tcp && kHeader + body.size() > kMostOverUdp;
  std::string message = query.substr(0, 2);  // its number
  Put16(message, 0x8580u | (is_cut ? 0x0200u : 0u) | static_cast<unsigned>(reply.code));
  Put16(message, 1);
  Put16(message, is_cut ? 0 : static_cast<unsigned>(records.size()));
  Put16(message, 0);
  Put16(message, 0);
  return message + (is_cut ? asked : body);
}

}  // namespace closeranks::net
