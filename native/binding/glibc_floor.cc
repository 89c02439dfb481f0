// Lets a binary with libgcc inside run on glibc 2.34: libgcc's unwinder asks the C library for
// `_dl_find_object`, which is there from 2.35 on. This one finds the same through
// dl_iterate_phdr. Hidden, so that only the unwinder inside this addon sees it.
//
// Threads: any. Cost: a walk over the loaded objects, once per frame of a thrown std::bad_alloc.

#include <cstdint>

#if defined(__GLIBC__) && defined(__x86_64__)
#if __GLIBC_PREREQ(2, 35)

#include <link.h>

namespace {

struct Search {
  uintptr_t address;
  dl_find_object* result;
};

int VisitObject(dl_phdr_info* info, size_t, void* data) {
  const auto* search = static_cast<Search*>(data);
  bool holds_address = false;
  void* eh_frame = nullptr;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    const uintptr_t start = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD && search->address - start < header.p_memsz) {
      holds_address = true;
      search->result->dlfo_map_start = reinterpret_cast<void*>(start);
      search->result->dlfo_map_end = reinterpret_cast<void*>(start + header.p_memsz);
    } else if (header.p_type == PT_GNU_EH_FRAME) {
      eh_frame = reinterpret_cast<void*>(start);
    }
  }
  if (!holds_address || eh_frame == nullptr) return 0;
  search->result->dlfo_eh_frame = eh_frame;
  return 1;
}

}  // namespace

extern "C" __attribute__((used, visibility("hidden"))) int _dl_find_object(
    void* address, dl_find_object* result) noexcept {
  *result = {};
  Search search = {reinterpret_cast<uintptr_t>(address), result};
  return dl_iterate_phdr(VisitObject, &search) != 0 ? 0 : -1;
}

#endif
#endif
