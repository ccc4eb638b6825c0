// Number formats: decoders against values of PyPI's gguf (make_fixtures.py), encoders and text
// against what they promise.
#include "dialects/lm/Encoding.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

using namespace ingot;

namespace {

TEST(Encoding, DecodesEveryFormatBitForBit) {
  std::ifstream file(INGOT_FIXTURES, std::ios::binary);
  const std::vector<char> all((std::istreambuf_iterator<char>(file)), {});
  size_t at = 0, formats = 0;
  while (at < all.size()) {
    uint32_t header[4]; // ggml type, rows, columns, bytes
    memcpy(header, all.data() + at, sizeof header);
    at += sizeof header;
    const NamedEncoding *named = findGgmlType(header[0]);
    ASSERT_NE(named, nullptr);
    const Encoding &encoding = named->encoding;
    ASSERT_EQ(encoding.storageBytes(header[1], header[2]), header[3]) << named->name;
    const auto *bytes = reinterpret_cast<const uint8_t *>(all.data() + at);
    std::vector<float> expected(header[1] * header[2]), row(header[2]);
    memcpy(expected.data(), all.data() + at + header[3], expected.size() * 4);
    at += header[3] + expected.size() * 4;
    for (uint32_t r = 0; r < header[1]; ++r) {
      encoding.decodeRow(bytes + r * *encoding.rowBytes(header[2]), header[2], row.data());
      for (uint32_t i = 0; i < header[2]; ++i) {
        const float wanted = expected[r * header[2] + i];
        const bool same = std::isnan(wanted) ? std::isnan(row[i]) : !memcmp(&row[i], &wanted, 4);
        EXPECT_TRUE(same) << named->name << " row " << r << " element " << i;
      }
    }
    ++formats;
  }
  EXPECT_EQ(formats, namedEncodings().size() - 1); // all but F32
}

TEST(Encoding, TheAffineViewIsTheValue) {
  std::mt19937 random(1);
  for (const NamedEncoding &named : namedEncodings()) {
    const Encoding &e = named.encoding;
    if (e.isFloat())
      continue;
    constexpr int64_t columns = 512;
    std::vector<uint8_t> bytes(*e.rowBytes(columns));
    for (uint8_t &byte : bytes)
      byte = random();
    std::vector<float> values(columns), scales(columns / e.group_size), mins(scales.size());
    std::vector<int16_t> codes(columns);
    e.decodeRow(bytes.data(), columns, values.data());
    e.affineRow(bytes.data(), columns, codes.data(), scales.data(), mins.data());
    for (int64_t i = 0; i < columns; ++i) {
      EXPECT_GE(codes[i], e.minCode());
      EXPECT_LE(codes[i], e.maxCode());
      const float product = codes[i] * scales[i / e.group_size];
      const float value = e.symmetric() ? product : product + mins[i / e.group_size];
      EXPECT_TRUE(value == values[i] || (std::isnan(value) && std::isnan(values[i]))) << named.name;
    }
    if (!e.twoLevel())
      continue;
    std::vector<int16_t> same(columns), sub_scales(scales.size()), sub_mins(scales.size());
    std::vector<float> supers(columns / Encoding::kSuperBlock), super_mins(supers.size());
    e.twoLevelRow(bytes.data(), columns, same.data(), sub_scales.data(), sub_mins.data(),
                  supers.data(), super_mins.data());
    EXPECT_EQ(same, codes);
    for (size_t g = 0; g < scales.size(); ++g) {
      const size_t super = g * e.group_size / Encoding::kSuperBlock;
      const float scale = float(sub_scales[g]) * supers[super];
      const float min = e.symmetric() ? 0 : float(sub_mins[g]) * super_mins[super];
      EXPECT_TRUE(!memcmp(&scale, &scales[g], 4) || std::isnan(scale)) << named.name;
      EXPECT_TRUE(!memcmp(&min, &mins[g], 4) || std::isnan(min)) << named.name;
    }
  }
}

const char *const roundable[] = {"int2:g16",  "int3:g32", "int4:g32",  "int4:g64",  "int5",
                                 "int6:g32",  "int8",     "int8:g128", "uint2:g16", "uint4:g32",
                                 "uint5:g32", "uint8",    "q4_0",      "q4_1",      "q5_0",
                                 "q5_1",      "q8_0"};

TEST(Encoding, RoundsToTheNearestCode) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.1f, 1);
  for (const char *spec : roundable) {
    auto e = Encoding::parseSpec(spec);
    ASSERT_TRUE(bool(e)) << spec;
    constexpr int64_t columns = 256;
    const int64_t group = e->groupElements(columns);
    std::vector<float> x(columns), back(columns), scales(columns / group), mins(scales.size());
    std::vector<int16_t> codes(columns);
    std::vector<uint8_t> bytes(*e->rowBytes(columns));
    for (float &value : x)
      value = normal(random);
    e->encodeRow(x.data(), columns, bytes.data());
    e->decodeRow(bytes.data(), columns, back.data());
    e->affineRow(bytes.data(), columns, codes.data(), scales.data(), mins.data());
    for (int64_t i = 0; i < columns; ++i) {
      // Half a step, and what rounding scale and minimum to f16 may add at the end of the range.
      const float reach = (e->maxCode() - e->minCode()) * scales[i / group];
      EXPECT_LE(std::fabs(x[i] - back[i]), 0.5001f * scales[i / group] + reach * 1e-3f) << spec;
    }
  }
}

TEST(Encoding, RoundsWhatIsOdd) {
  for (const char *spec : roundable) {
    auto e = Encoding::parseSpec(spec);
    ASSERT_TRUE(bool(e));
    constexpr int64_t columns = 256;
    std::vector<uint8_t> bytes(*e->rowBytes(columns));
    std::vector<float> back(columns);
    auto round = [&](std::vector<float> x) {
      e->encodeRow(x.data(), columns, bytes.data());
      e->decodeRow(bytes.data(), columns, back.data());
    };
    round(std::vector<float>(columns, 0.0f));
    for (float value : back)
      EXPECT_EQ(value, 0) << spec;
    round(std::vector<float>(columns, 0.75f));
    for (float value : back)
      EXPECT_NEAR(value, 0.75f, 0.002f) << spec;
    std::vector<float> x(columns, 0.01f);
    x[7] = 100;
    round(x);
    EXPECT_NEAR(back[7], 100, 0.2f) << spec;
    x[9] = INFINITY;
    x[11] = NAN;
    round(x);
    for (float value : back)
      EXPECT_TRUE(std::isfinite(value)) << spec;
  }
}

// Each element has the nearest of what its scale gives, and no scale of a dense row of them, of
// either sign, would have had less than 0.9 of the squared error.
TEST(Encoding, RoundsToTheNearestNumberOfATable) {
  std::mt19937 random(6);
  for (const char *spec : {"iq4_nl", "mxfp4"})
    for (int form = 0; form < 30; ++form) {
      const Encoding e = *Encoding::parseSpec(spec);
      const bool power = e.scale.type == CodeKind::e8m0;
      std::vector<float> x(32), back(32), scale(1), min(1);
      std::vector<int16_t> codes(32);
      std::vector<uint8_t> bytes(*e.rowBytes(32));
      for (float &value : x) { // normal, even, and with something far out
        value = form % 3 == 1 ? std::uniform_real_distribution<float>(-1, 2)(random)
                              : std::normal_distribution<float>(0.05f, 0.4f)(random);
        value *= std::ldexp(1.0f, form % 8 - 4);
      }
      if (form % 3 == 2)
        x[form % 32] *= -9;
      e.encodeRow(x.data(), 32, bytes.data());
      e.decodeRow(bytes.data(), 32, back.data());
      e.affineRow(bytes.data(), 32, codes.data(), scale.data(), min.data());
      auto nearest = [&](float value, double of_scale) {
        double least = INFINITY;
        for (const int8_t number : e.values())
          least = std::min(least, std::fabs(value - number * of_scale));
        return least;
      };
      double error = 0, least = INFINITY, peak = 0;
      for (int i = 0; i < 32; ++i) {
        EXPECT_NEAR(std::fabs(x[i] - back[i]), nearest(x[i], scale[0]), 1e-6 * std::fabs(x[i]))
            << spec << " form " << form << " element " << i;
        EXPECT_EQ(e.values()[e.storedCode(codes[i])], codes[i]);
        error += std::pow(x[i] - back[i], 2);
        peak = std::max(peak, double(std::fabs(x[i])));
      }
      for (int i = 1; i < 2000; ++i)
        for (double sign : {1, -1}) {
          const double other = power ? std::ldexp(1.0, i % 254 - 127) : sign * peak / 64 * i / 2000;
          double sum = 0;
          for (float value : x)
            sum += std::pow(nearest(value, other), 2);
          least = std::min(least, sum);
        }
      EXPECT_GE(least, error * (power ? 0.999 : 0.9)) << spec << " form " << form;
    }
}

TEST(Encoding, TablesRoundWhatIsOdd) {
  for (const char *spec : {"iq4_nl", "mxfp4"})
    for (float odd : {0.0f, 0.75f, FLT_MAX, -FLT_MAX, INFINITY, NAN, 1e-8f, FLT_MIN, 0x1p-149f}) {
      const Encoding e = *Encoding::parseSpec(spec);
      for (float other : {odd, 0.01f}) {
        std::vector<float> x(64, other), back(64);
        x[7] = odd;
        std::vector<uint8_t> bytes(*e.rowBytes(64));
        e.encodeRow(x.data(), 64, bytes.data());
        e.decodeRow(bytes.data(), 64, back.data());
        for (float value : back)
          ASSERT_TRUE(std::isfinite(value)) << spec << " of " << odd << " and " << other;
        if (odd == 0.75f)
          EXPECT_NEAR(back[7], odd, odd / 200) << spec; // the others pull at the scale
        if (odd == 0 && other == 0)
          EXPECT_EQ(back, x) << spec;
      }
    }
}

TEST(Encoding, ExponentsOfScales) {
  for (int byte = 0; byte < 256; ++byte) {
    const float value = e8m0ToFloat(static_cast<uint8_t>(byte));
    EXPECT_EQ(value, std::ldexp(1.0, byte - 128));
    EXPECT_EQ(floatToE8m0(value), byte);
    EXPECT_EQ(floatToE8m0(value * 1.1f), byte);
  }
  EXPECT_EQ(floatToE8m0(0), 0);
  EXPECT_EQ(floatToE8m0(INFINITY), 255);
}

// A weight whose scale or minimum f16 cannot hold saturates; it must not make its group infinite.
TEST(Encoding, KeepsHugeAndTinyFinite) {
  constexpr int64_t columns = 256;
  std::vector<Encoding> encodings{*Encoding::parse("u4, row, f32+f32"),
                                  *Encoding::parse("i4, g32, bf16"),
                                  *Encoding::parse("u4, g32, bf16+bf16")};
  for (const char *spec : roundable)
    encodings.push_back(*Encoding::parseSpec(spec));
  for (const Encoding &e : encodings)
    for (float odd : {FLT_MAX, 1e6f, 66000.0f, 1e-8f, FLT_MIN, 0x1p-149f})
      for (float sign : {1.0f, -1.0f}) {
        std::vector<float> x(columns, 0.01f), back(columns);
        x[7] = sign * odd;
        x[255] = -sign * odd;
        std::vector<uint8_t> bytes(*e.rowBytes(columns));
        e.encodeRow(x.data(), columns, bytes.data());
        e.decodeRow(bytes.data(), columns, back.data());
        for (float value : back)
          ASSERT_TRUE(std::isfinite(value)) << e.str() << " with " << x[7];
        if (odd == 1e6f && e.group_size == 0) // where scales are f32 it is not even rounded off
          EXPECT_NEAR(back[7], x[7], 1e6f / float(e.maxCode())) << e.str();
      }
}

TEST(Encoding, SizesAreThoseOfTheTable) {
  for (const NamedEncoding &named : namedEncodings()) {
    const Encoding &e = named.encoding;
    EXPECT_EQ(e.blockElements(1024), named.block_elements) << named.name;
    EXPECT_EQ(e.rowBytes(1024), 1024 / named.block_elements * named.block_bytes) << named.name;
    EXPECT_EQ(findGgmlType(named.ggml_type), &named);
    EXPECT_EQ(displayName(e), named.name);
    if (named.block_elements > 1)
      for (int64_t columns : {named.block_elements - 1, named.block_elements + 1})
        EXPECT_EQ(e.rowBytes(columns), std::nullopt) << named.name;
  }
  EXPECT_EQ(findGgmlType(4), nullptr);
  EXPECT_EQ(Encoding::parse("i8, row, f32")->rowBytes(100), 104u);
  EXPECT_EQ(Encoding::parse("i3, g16, f16")->rowBytes(32), 2u * (2 + 6));
  EXPECT_EQ(Encoding::parse("u4, row, f32+f32")->rowBytes(7), 8u + 4);
}

TEST(Encoding, TextComesBack) {
  for (const NamedEncoding &named : namedEncodings())
    EXPECT_EQ(Encoding::parse(named.encoding.str()), named.encoding) << named.name;
  for (const char *spec : roundable)
    EXPECT_EQ(Encoding::parse(Encoding::parseSpec(spec)->str()), *Encoding::parseSpec(spec))
        << spec;
  EXPECT_EQ(findGgmlType(3)->encoding.str(), "u4, g32, f16+f16");
  EXPECT_EQ(findGgmlType(12)->encoding.str(), "u4, g32, f16*u6+f16*u6");
  EXPECT_EQ(findGgmlType(20)->encoding.str(), "iq4_nl, g32, f16");
  EXPECT_EQ(findGgmlType(39)->encoding.str(), "e2m1, g32, e8m0");
  EXPECT_EQ(displayName(*Encoding::parse("i8, g32, f16")), "Q8_0");
  EXPECT_EQ(Encoding::parse("i16, g32, f32")->str(), "i16, g32, f32");
  EXPECT_EQ(Encoding::parse("f16, g32, f32")->str(), "f16, g32, f32");
  EXPECT_EQ(Encoding::parse("f16, g32, f32")->code, CodeKind::f16);
  for (Activations activations : allActivations)
    EXPECT_EQ(parseActivations(toString(activations)), activations);
  EXPECT_FALSE(parseActivations("bf16").has_value());
  for (const char *text : {"",
                           "u4",
                           "u4, g32",
                           "u16, g32, f32",
                           "i12, g32, f32",
                           "u9, g32, f16",
                           "u4, g0, f16",
                           "u4, 32, f16",
                           "u4, g32, f8",
                           "u4, g32, f16+",
                           "u4, g32, f16*u9",
                           "u4, g32, f16*u6",
                           "x4, g32, f16",
                           "i4, g-1, f16",
                           "i4, g99999999999, f16",
                           "i4, g33554432, f16",
                           "i4, rows, f16",
                           "i1, g32, f16",
                           "i4, g32, e8m0",
                           "iq4_nl, g64, f16",
                           "iq4_nl, g32, f16+f16",
                           "e2m1, g32, f32",
                           "e8m0",
                           "i4, g32, f16, f16",
                           "f64",
                           "none"})
    EXPECT_FALSE(Encoding::parse(text).has_value()) << text;
}

TEST(Encoding, SpecsThatAreNone) {
  for (const char *spec : {"", "int", "int1", "int9", "int4:", "int4:32", "int4:g7", "int4:g1024",
                           "q4_k", "float", "int4:g32:g32", "-int4"}) {
    auto e = Encoding::parseSpec(spec);
    EXPECT_FALSE(bool(e)) << spec;
    llvm::consumeError(e.takeError());
  }
}

TEST(Encoding, SizesAreCheckedForOverflow) {
  const Encoding q4_1 = findGgmlType(3)->encoding, f32 = findGgmlType(0)->encoding;
  EXPECT_EQ(q4_1.storageBytes(2, 64), 80u);
  EXPECT_DOUBLE_EQ(q4_1.bitsPerWeight(64), 5.0);
  EXPECT_FALSE(q4_1.rowBytes(33).has_value());
  EXPECT_FALSE(q4_1.rowBytes(0).has_value());
  EXPECT_FALSE(q4_1.rowBytes(-32).has_value());
  EXPECT_FALSE(f32.rowBytes(INT64_MAX).has_value());
  EXPECT_FALSE(f32.rowBytes(int64_t(1) << 61).has_value()); // 2^63 bytes: too many for int64_t
  EXPECT_FALSE(f32.storageBytes(int64_t(1) << 31, int64_t(1) << 30).has_value());
  EXPECT_EQ(f32.storageBytes(int64_t(1) << 30, int64_t(1) << 30), uint64_t(1) << 62);
  EXPECT_FALSE(f32.storageBytes(INT64_MAX, 1 << 20).has_value());
  EXPECT_FALSE(f32.storageBytes(int64_t(1) << 31, int64_t(1) << 31).has_value());
  EXPECT_FALSE(Encoding::parseSpec("int8")->rowBytes(INT64_MAX).has_value());
}

/// IEEE 754 binary16 by its definition: sign, 5 bits of exponent (bias 15), 10 of fraction.
double halfValue(uint32_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                           : exponent == 0 ? std::ldexp(fraction, -24)
                                           : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

TEST(HalfPrecision, EveryHalfIsWhatItIsDefinedToBe) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = halfToFloat(static_cast<uint16_t>(bits));
    const float expected = static_cast<float>(halfValue(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(halfValue(floatToHalf(value)))) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << bits;
      ASSERT_EQ(floatToHalf(value), bits);
    }
  }
}

TEST(HalfPrecision, RoundsToNearestAndTiesToEven) {
  // Around the middle between each half and the next; beyond the largest lies 65,536, infinity.
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double next = bits == 0x7bff ? 65536.0 : halfValue(bits + 1);
    const float middle = static_cast<float>((halfValue(bits) + next) / 2); // exact: a bit more
    for (uint32_t sign : {0u, 0x8000u}) {
      const float m = sign ? -middle : middle;
      ASSERT_EQ(floatToHalf(m), sign | (bits + (bits & 1))) << bits;
      ASSERT_EQ(floatToHalf(std::nextafter(m, 0.0f)), sign | bits) << bits;
      ASSERT_EQ(floatToHalf(std::nextafter(m, 2 * m)), sign | (bits + 1)) << bits;
    }
  }
  EXPECT_EQ(floatToHalf(FLT_MAX), 0x7c00);
  EXPECT_EQ(floatToHalf(-FLT_MAX), 0xfc00);
}

TEST(Bfloat, IsTheTopHalfOfAFloat) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bfloatToFloat(static_cast<uint16_t>(bits));
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    const uint16_t back = floatToBfloat(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bfloatToFloat(back))) << bits;
      continue;
    }
    ASSERT_EQ(back, bits);
    if (std::isinf(value))
      continue;
    const uint32_t tie = bits << 16 | 0x8000;
    ASSERT_EQ(floatToBfloat(std::bit_cast<float>(tie)), bits + (bits & 1)) << bits;
    ASSERT_EQ(floatToBfloat(std::bit_cast<float>(tie - 1)), bits) << bits;
    ASSERT_EQ(floatToBfloat(std::bit_cast<float>(tie + 1)), bits + 1) << bits;
  }
  // A NaN whose payload lies only in the bits that are dropped stays one.
  EXPECT_TRUE(std::isnan(bfloatToFloat(floatToBfloat(std::bit_cast<float>(0x7f800001u)))));
}

} // namespace
