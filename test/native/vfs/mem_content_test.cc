#include "vfs/mem_content.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

std::string All(const MemContent& content) {
  std::string bytes(content.size() + 7, '?');
  bytes.resize(content.Read(0, bytes.size(), bytes.data()));
  return bytes;
}

void ChangeBoth(TestRandom* random, MemContent* content, std::string* model) {
  const uint64_t at = random->Below(400000);
  if (random->OneIn(6)) {
    content->Resize(at);
    model->resize(at, '\0');
    return;
  }
  const std::string data(random->Below(20000) + 1, static_cast<char>('a' + random->Below(26)));
  content->Write(at, data);
  if (at + data.size() > model->size()) model->resize(at + data.size(), '\0');
  model->replace(at, data.size(), data);
}

TEST(MemContent, CutBytesDoNotComeBack) {
  MemContent content;
  content.Write(0, std::string(300000, 'x'));
  for (const uint64_t size : {200000, 131072, 131071, 8192, 8191, 4096, 1, 0}) {
    MemContent copy = content;
    copy.Resize(size);
    copy.Resize(300000);
    EXPECT_EQ(All(copy), std::string(size, 'x') + std::string(300000 - size, '\0'));
  }
  EXPECT_EQ(All(content), std::string(300000, 'x'));
}

// Copies taken at any time keep their bytes while the original goes on, and may go their own way.
TEST(MemContent, CopiesAreIndependent) {
  TestRandom random;
  MemContent content;
  std::string model;
  std::vector<MemContent> copies;
  std::vector<std::string> models;
  for (int round = 0; round < 60; ++round) {
    ChangeBoth(&random, &content, &model);
    if (random.OneIn(4)) {
      copies.push_back(content);
      models.push_back(model);
    }
    if (!copies.empty()) {
      const size_t i = random.Below(copies.size());
      ChangeBoth(&random, &copies[i], &models[i]);
    }
  }
  EXPECT_EQ(All(content), model);
  for (size_t i = 0; i < copies.size(); ++i) EXPECT_EQ(All(copies[i]), models[i]) << i;
}

TEST(MemContent, CopiesMayChangeOnDifferentThreads) {
  MemContent content;
  content.Write(0, std::string(100000, 'x'));
  std::vector<MemContent> copies(4, content);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < copies.size(); ++t) {
    threads.emplace_back([&copies, t] {
      for (uint64_t i = 0; i < 100; ++i) {
        copies[t].Write(i * 1000, std::string(500, static_cast<char>('a' + t)));
        const MemContent again = copies[t];
        copies[t].Resize(100000 - i);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (size_t t = 0; t < copies.size(); ++t) {
    char byte = 0;
    copies[t].Read(42 * 1000 + 1, 1, &byte);
    EXPECT_EQ(byte, static_cast<char>('a' + t));
  }
  EXPECT_EQ(All(content), std::string(100000, 'x'));
}

}  // namespace
}  // namespace shale
