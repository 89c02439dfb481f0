// Text cases: blocks of lines, each begun by "case <name>". Comments and empty lines are left out.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace shale {

struct TextCase {
  std::string name;
  int line = 0;
  std::vector<std::vector<std::string>> lines;  // split at spaces
};

// `name`: of a file in test/cases.
inline std::vector<TextCase> ReadCases(const std::string& name) {
  std::vector<TextCase> cases;
  std::ifstream in(std::string(SHALE_SOURCE_DIR) + "/test/cases/" + name);
  EXPECT_TRUE(in.good()) << name;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    number++;
    if (line.empty() || line[0] == '#') continue;
    if (line.rfind("case ", 0) == 0) {
      cases.push_back({line.substr(5), number, {}});
      continue;
    }
    std::istringstream words(line);
    std::vector<std::string> split;
    for (std::string word; words >> word;) split.push_back(word);
    if (cases.empty()) {
      ADD_FAILURE() << name << ":" << number << ": a line outside of a case";
      continue;
    }
    cases.back().lines.push_back(std::move(split));
  }
  return cases;
}

inline std::vector<std::string> SplitAt(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

}  // namespace shale
