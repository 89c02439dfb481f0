#include "vfs/thread_priority.h"

#include <sys/resource.h>

namespace shale {

void LowerThreadPriority(int niceness) {
#ifdef __linux__
  if (niceness != 0) (void)setpriority(PRIO_PROCESS, 0, niceness);
#else
  (void)niceness;
#endif
}

}  // namespace shale
