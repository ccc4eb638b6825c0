ingot_library(ingot_encoding SOURCES lm/Encoding.cpp LINK ingot_support)
