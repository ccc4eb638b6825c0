// Files of measured tiles: what is written is read, and what is wrong is told with its line.
#include "codegen/tune/TileFile.h"
#include "support/Error.h"

#include "gtest/gtest.h"

using namespace ingot;

namespace {

const std::string code = "0123abcd", key(32, 'a'), other(32, 'b');

TileFile parsed(const std::string &text) { return llvm::cantFail(TileFile::parse(text, "file")); }

TEST(TileFile, WhatIsWrittenIsRead) {
  TileFile file;
  file.set("znver3", "AMD EPYC", {key, {4, 2, 16}, code, "linear, 12.5 us"});
  file.set("znver3", "AMD EPYC", {other, {6, 1, 0}, code, ""});
  file.set("haswell", "Intel Core", {key, {3, 1, 0}, code, ""});
  const TileFile again = parsed(file.text());
  EXPECT_EQ(again.text(), file.text());
  const MeasuredTile *found = again.find("znver3", "AMD EPYC", key);
  ASSERT_TRUE(found);
  EXPECT_TRUE((found->tile == Tile{4, 2, 16}));
  EXPECT_EQ(found->note, "linear, 12.5 us");
  EXPECT_TRUE((again.find("haswell", "Intel Core", key)->tile == Tile{3, 1, 0}));
}

TEST(TileFile, ALaterResultReplacesAnEarlierOne) {
  TileFile file;
  file.set("znver3", "AMD EPYC", {key, {4, 1, 0}, code, ""});
  file.set("znver3", "AMD EPYC", {key, {6, 1, 0}, code, ""});
  EXPECT_EQ(file.find("znver3", "AMD EPYC", key)->tile.token_tile, 6);
  EXPECT_EQ(file.text().find("tokens=4"), std::string::npos);
}

TEST(TileFile, OwnResultsComeBeforeThoseOfOtherProcessors) {
  TileFile file;
  file.set("znver3", "AMD Ryzen", {key, {4, 1, 0}, code, ""});
  file.set("znver3", "AMD EPYC", {key, {6, 1, 0}, code, ""});
  EXPECT_EQ(file.find("znver3", "AMD EPYC", key)->tile.token_tile, 6);
  EXPECT_EQ(file.find("znver3", "AMD Athlon", key)->tile.token_tile, 4);
  EXPECT_FALSE(file.findHere("znver3", "AMD Athlon", key));
  EXPECT_FALSE(file.find("znver4", "AMD EPYC", key));
  EXPECT_FALSE(file.find("znver3", "AMD EPYC", other));
}

TEST(TileFile, CommentsAndEmptyLinesAreNothing) {
  const TileFile file = parsed("# mine\n\ningot-tiles 2 # first\r\n\nmachine a on b c  # d\r\n"
                               "  tile " +
                               key + " keys=0 code=0123abcd streams=1 tokens=2\n");
  EXPECT_EQ(file.find("a", "b c", key)->tile.token_tile, 2);
}

TEST(TileFile, WrongLinesAreNamed) {
  const std::string head = "ingot-tiles 2\nmachine znver3 on AMD EPYC\n";
  struct {
    std::string text, where;
  } cases[] = {
      {"machine znver3 on AMD EPYC\n", "line 1"},
      {"ingot-tiles 1\n", "line 1"},
      {"# a comment only\n", ""},
      {"ingot-tiles 2\nmachine znver3\n", "line 2"},
      {"ingot-tiles 2\nmachine on AMD\n", "line 2"},
      {"ingot-tiles 2\ntile " + key + " tokens=1 streams=1 keys=0 code=0123abcd\n", "line 2"},
      {head + "tiles " + key + "\n", "line 3"},
      {head + "tile\n", "line 3"},
      {head + "tile 1234 tokens=1 streams=1 keys=0\n", "line 3"},
      {head + "tile " + key + "\n", "line 3"},
      {head + "\ntile " + key + " tokens=1 streams=1 code=0123abcd\n", "line 4"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0 code=12\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0 code=0123abcd code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=0 streams=1 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=0 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=-1 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=x streams=1 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens= streams=1 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=99999999999 streams=1 keys=0 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0 depth=2 code=0123abcd\n", "line 3"},
      {head + "tile " + key + " tokens=1 streams=1 keys=0 2 code=0123abcd\n", "line 3"},
  };
  for (const auto &c : cases) {
    llvm::Expected<TileFile> file = TileFile::parse(c.text, "my.tune");
    ASSERT_FALSE(bool(file)) << c.text;
    llvm::handleAllErrors(file.takeError(), [&](const InputError &error) {
      EXPECT_EQ(error.file, "my.tune");
      EXPECT_EQ(error.where, c.where) << c.text;
      EXPECT_FALSE(error.message.empty());
    });
  }
}

} // namespace
