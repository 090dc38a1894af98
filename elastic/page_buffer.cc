#include "elastic/page_buffer.h"

#include <sys/mman.h>

#include <new>

namespace closeranks::elastic {

PageBuffer::PageBuffer(size_t bytes) {
  if (bytes == 0) return;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  madvise(data, bytes, MADV_HUGEPAGE);  // a wish: without it all is the same, and slower
  data_ = static_cast<char*>(data);
  size_ = bytes;
}

PageBuffer::~PageBuffer() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace closeranks::elastic
