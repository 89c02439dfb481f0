// Priority of the calling thread, where the operating system keeps one per thread.
#pragma once

namespace shale {

// Makes the calling thread give way to others: `niceness` 1 to 19, 0 changes nothing. On systems
// where that would slow down the whole process nothing happens.
void LowerThreadPriority(int niceness);

}  // namespace shale
