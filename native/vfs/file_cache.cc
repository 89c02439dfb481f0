#include "vfs/file_cache.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/hash.h"

namespace shale {

namespace {

constexpr size_t kShardsMax = 16;
constexpr size_t kFilesPerShardMin = 16;

}  // namespace

class FileCache::Shard {
 public:
  explicit Shard(size_t room) : room_(room) {}

  std::shared_ptr<File> Find(uint64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = index_.find(number);
    if (it == index_.end()) return nullptr;
    Place& place = places_[it->second];
    place.used = true;
    return place.file;
  }

  // The file to use: another thread may have opened the same one first. What is closed for it is
  // closed outside the lock.
  std::shared_ptr<File> Add(uint64_t number, std::shared_ptr<File> file) {
    std::shared_ptr<File> closed;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [it, added] = index_.try_emplace(number, 0);
    if (!added) return places_[it->second].file;
    try {
      it->second = TakePlace(&closed);
    } catch (...) {
      index_.erase(it);  // it names somebody else's place
      throw;
    }
    places_[it->second] = {number, file, false};
    return file;
  }

  // Null if it is not open.
  std::shared_ptr<File> Take(uint64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = index_.find(number);
    if (it == index_.end()) return nullptr;
    const size_t i = it->second;
    std::shared_ptr<File> taken = std::move(places_[i].file);
    index_.erase(it);
    if (i + 1 != places_.size()) {
      places_[i] = std::move(places_.back());
      index_[places_[i].number] = i;
    }
    places_.pop_back();
    return taken;
  }

  // Closes every file that nobody uses.
  void CloseIdle() {
    std::vector<uint64_t> idle;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const Place& place : places_) {
        if (place.file.use_count() == 1) idle.push_back(place.number);
      }
    }
    for (const uint64_t number : idle) Take(number);
  }

  size_t count() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return places_.size();
  }

 private:
  struct Place {
    uint64_t number;
    std::shared_ptr<File> file;
    bool used;
  };

  // A free place, or that of the first file not used since the hand passed it. Requires the lock.
  size_t TakePlace(std::shared_ptr<File>* closed) {
    if (places_.size() < room_) {
      places_.emplace_back();
      return places_.size() - 1;
    }
    for (;;) {
      hand_ = hand_ + 1 < places_.size() ? hand_ + 1 : 0;
      Place& place = places_[hand_];
      if (std::exchange(place.used, false)) continue;
      *closed = std::move(place.file);
      index_.erase(place.number);
      return hand_;
    }
  }

  const size_t room_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, size_t> index_;  // number -> place
  std::vector<Place> places_;
  size_t hand_ = 0;
};

FileCache::FileCache(Vfs* vfs, size_t max_open, std::shared_ptr<FileRemover> remover)
    : vfs_(vfs), remover_(std::move(remover)) {
  const size_t shards =
      std::clamp<size_t>(std::bit_floor(max_open / kFilesPerShardMin), 1, kShardsMax);
  for (size_t i = 0; i < shards; ++i) {
    shards_.push_back(std::make_unique<Shard>(max_open / shards));
  }
}

FileCache::~FileCache() = default;

FileCache::Shard& FileCache::ShardOf(uint64_t number) const {
  return *shards_[MixBits(number) & (shards_.size() - 1)];
}

Status FileCache::Get(uint64_t number, const std::string& path, std::shared_ptr<File>* file) {
  Shard& shard = ShardOf(number);
  *file = shard.Find(number);
  if (*file != nullptr) return {};
  std::unique_ptr<File> opened;
  Status status = vfs_->Open(path, OpenMode::kRead, &opened);
  if (status.Is(Code::kTooManyOpenFiles)) {
    for (const auto& s : shards_) s->CloseIdle();
    status = vfs_->Open(path, OpenMode::kRead, &opened);
  }
  SHALE_RETURN_IF_ERROR(status);
  *file = shard.Add(number, std::move(opened));
  return {};
}

void FileCache::Evict(uint64_t number) { ShardOf(number).Take(number); }

void FileCache::Remove(uint64_t number, const std::string& path) {
  std::shared_ptr<File> file = ShardOf(number).Take(number);
  if (remover_ != nullptr) return remover_->Remove(path, std::move(file));
  file.reset();
  // A file that cannot be removed now is an orphan: the next open removes it.
  static_cast<void>(vfs_->Remove(path));
}

size_t FileCache::open_count() const {
  size_t count = 0;
  for (const auto& shard : shards_) count += shard->count();
  return count;
}

}  // namespace shale
