#include "net/dns_resolver.h"

#include <ares.h>
#include <arpa/nameser.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

int InitLibrary() {
  static std::once_flag once;
  static int status = ARES_SUCCESS;
  std::call_once(once, [] { status = ares_library_init(ARES_LIB_INIT_ALL); });
  return status;
}

void AddNew(const Address& address, std::vector<Address>& addresses) {
  const bool is_new = std::find(addresses.begin(), addresses.end(), address) == addresses.end();
  if (is_new && !address.host.empty()) addresses.push_back(address);
}

std::vector<Address> AddressesOf(const ares_addrinfo& found, uint16_t port) {
  std::vector<Address> addresses;
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    SocketAddress socket_address;
    std::memcpy(&socket_address.storage, node->ai_addr, node->ai_addrlen);
    socket_address.length = node->ai_addrlen;
    Address address = FromSocketAddress(socket_address);
    address.port = port;
    AddNew(address, addresses);
  }
  return addresses;
}

Status Failure(const std::string& name, int status) {
  return Unavailable("resolving " + name + ": " + ares_strerror(status));
}

}  // namespace

struct DnsResolver::Question {
  DnsResolver* resolver;
  Address address;
  Callback callback;
};

// Of the instances that the records name, each is asked for its own addresses.
struct DnsResolver::ServiceQuestion {
  DnsResolver* resolver;
  std::string name;  // of the records
  Callback callback;
  size_t unanswered = 0;
  std::vector<Address> addresses;
  Status failure;  // of one of them
};

DnsResolver::DnsResolver(Loop& loop, Options options) : loop_(loop) {
  ares_options settings{};
  settings.timeout = std::max(1, static_cast<int>(ToMilliseconds(options.server_timeout)));
  settings.tries = options.rounds;
  settings.sock_state_cb_data = this;
  settings.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
    static_cast<DnsResolver*>(self)->OnSocketState(fd, readable != 0, writable != 0);
  };
  int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  std::vector<char*> domains;
  for (std::string& domain : options.search_domains) domains.push_back(domain.data());
  if (!options.servers.empty()) {
    settings.domains = domains.data();
    settings.ndomains = static_cast<int>(domains.size());
    mask |= ARES_OPT_DOMAINS;
  }
  int status = InitLibrary();
  if (status == ARES_SUCCESS) status = ares_init_options(&channel_, &settings, mask);
  if (status == ARES_SUCCESS && !options.servers.empty()) {
    std::string servers;
    for (const Address& server : options.servers) {
      servers += (servers.empty() ? "" : ",") + server.ToString();
    }
    status = ares_set_servers_ports_csv(channel_, servers.c_str());
  }
  ares_options used{};
  int used_mask = 0;
  if (status == ARES_SUCCESS) status = ares_save_options(channel_, &used, &used_mask);
  if (status == ARES_SUCCESS) {
    search_domains_.assign(used.domains, used.domains + used.ndomains);
    ares_destroy_options(&used);
  }
  if (status != ARES_SUCCESS) {
    broken_ = Unavailable(std::string("DNS can't be used: ") + ares_strerror(status));
  }
}

DnsResolver::~DnsResolver() {
  alive_.reset();
  loop_.Cancel(timer_);
  // Ends each open question, with a callback that only frees it.
  if (channel_ != nullptr) ares_destroy(channel_);
}

void DnsResolver::Resolve(const Address& address, Callback callback) {
  if (address.IsNumeric()) return AnswerLater(std::move(callback), std::vector<Address>{address});
  if (address.host == "localhost") {
    return AnswerLater(std::move(callback),
                       std::vector<Address>{Address::Ip("127.0.0.1", address.port),
                                            Address::Ip("::1", address.port)});
  }
  Ask(address, std::move(callback));
}

bool DnsResolver::IsInHostsFile(const std::string& name) const {
  for (const int family : {AF_INET, AF_INET6}) {
    hostent* found = nullptr;
    if (ares_gethostbyname_file(channel_, name.c_str(), family, &found) != ARES_SUCCESS) continue;
    ares_free_hostent(found);
    return true;
  }
  return false;
}

std::string DnsResolver::Whole(const std::string& name) const {
  const bool is_whole = std::any_of(
      search_domains_.begin(), search_domains_.end(),
      [&](const std::string& domain) { return !domain.empty() && name.ends_with("." + domain); });
  // There a name stands without the dot.
  return is_whole && !IsInHostsFile(name) ? name + "." : name;
}

void DnsResolver::Ask(const Address& address, Callback callback) {
  if (!broken_.ok()) return AnswerLater(std::move(callback), broken_);
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  auto question = std::make_unique<Question>(Question{this, address, std::move(callback)});
  ares_getaddrinfo(
      channel_, Whole(address.host).c_str(), nullptr, &hints,
      [](void* argument, int status, int, ares_addrinfo* found) {
        const std::unique_ptr<Question> question(static_cast<Question*>(argument));
        const std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)> owner(
            found, &ares_freeaddrinfo);
        if (status == ARES_EDESTRUCTION) return;
        const Address& address = question->address;
        std::vector<Address> addresses;
        if (status == ARES_SUCCESS) addresses = AddressesOf(*found, address.port);
        Result<std::vector<Address>> answer = addresses;
        if (addresses.empty()) {
          answer = Failure(address.host, status == ARES_SUCCESS ? ARES_ENODATA : status);
        }
        question->resolver->AnswerLater(std::move(question->callback), std::move(answer));
      },
      question.release());
  SetTimer();
}

void DnsResolver::ResolveService(const std::string& service, const std::string& port,
                                 Callback callback) {
  if (!broken_.ok()) return AnswerLater(std::move(callback), broken_);
  // RFC 2782.
  const std::string name = "_" + port + "._tcp." + Whole(service);
  auto question =
      std::make_unique<std::shared_ptr<ServiceQuestion>>(std::make_shared<ServiceQuestion>(
          ServiceQuestion{this, name, std::move(callback), 0, {}, {}}));
  ares_search(
      channel_, name.c_str(), ns_c_in, ns_t_srv,
      [](void* argument, int status, int, unsigned char* reply, int length) {
        const std::unique_ptr<std::shared_ptr<ServiceQuestion>> question(
            static_cast<std::shared_ptr<ServiceQuestion>*>(argument));
        if (status == ARES_EDESTRUCTION) return;
        (*question)->resolver->OnService(*question, status, reply, length);
      },
      question.release());
  SetTimer();
}

void DnsResolver::OnService(std::shared_ptr<ServiceQuestion> question, int status,
                            const unsigned char* reply, int length) {
  ares_srv_reply* records = nullptr;
  if (status == ARES_SUCCESS) status = ares_parse_srv_reply(reply, length, &records);
  const std::unique_ptr<void, decltype(&ares_free_data)> owner(records, &ares_free_data);
  std::vector<Address> instances;
  for (const ares_srv_reply* record = records; record != nullptr; record = record->next) {
    // With its dot: the name is whole, and isn't to be looked for in search domains.
    AddNew(Address::Ip(std::string(record->host) + ".", record->port), instances);
  }
  if (instances.empty()) {
    const int why = status == ARES_SUCCESS ? ARES_ENODATA : status;
    return AnswerLater(std::move(question->callback), Failure(question->name, why));
  }
  question->unanswered = instances.size();
  for (const Address& instance : instances) {
    Ask(instance, [question](Result<std::vector<Address>> answer) {
      if (answer.ok()) {
        for (const Address& address : *answer) AddNew(address, question->addresses);
      } else {
        question->failure = answer.status();
      }
      if (--question->unanswered > 0) return;
      Result<std::vector<Address>> all = question->addresses;
      if (question->addresses.empty()) all = question->failure;
      question->callback(std::move(all));
    });
  }
}

void DnsResolver::AnswerLater(Callback callback, Result<std::vector<Address>> answer) {
  loop_.Post([alive = std::weak_ptr<const bool>(alive_), callback = std::move(callback),
              answer = std::move(answer)] {
    if (!alive.expired()) callback(answer);
  });
}

void DnsResolver::OnSocketState(int fd, bool readable, bool writable) {
  const bool is_watched = watched_.contains(fd);
  if (!readable && !writable) {
    loop_.Unwatch(fd);
    watched_.erase(fd);
  } else if (is_watched) {
    loop_.Modify(fd, {readable, writable});
  } else {
    const Status watched =
        loop_.Watch(fd, {readable, writable}, [this, fd](Ready ready) { OnReady(fd, ready); });
    // The question then runs into its time limit.
    LOG_IF(WARNING, !watched.ok()) << "an answer of a DNS server can't be waited for: " << watched;
    if (watched.ok()) watched_.insert(fd);
  }
}

void DnsResolver::OnReady(int fd, Ready ready) {
  ares_process_fd(channel_, ready.readable || ready.hung_up ? fd : ARES_SOCKET_BAD,
                  ready.writable ? fd : ARES_SOCKET_BAD);
  SetTimer();
}

void DnsResolver::SetTimer() {
  loop_.Cancel(timer_);
  timer_ = kNoTimer;
  timeval storage{};
  const timeval* wait = ares_timeout(channel_, nullptr, &storage);
  if (wait == nullptr) return;
  timer_ = loop_.RunAfter(
      std::chrono::seconds(wait->tv_sec) + std::chrono::microseconds(wait->tv_usec), [this] {
        ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        SetTimer();
      });
}

}  // namespace closeranks::net
