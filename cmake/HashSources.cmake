# cmake -DOUT=HEADER -DSOURCES=a,b,... -P HashSources.cmake: a header that defines INGOT_KERNEL_SOURCES,
# the hash of those files; left alone where it has not changed.
string(REPLACE "," ";" files "${SOURCES}")
set(hashes "")
foreach(file ${files})
  file(SHA256 ${file} hash)
  string(APPEND hashes ${hash})
endforeach()
string(SHA256 hash "${hashes}")
string(SUBSTRING ${hash} 0 32 hash)
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define INGOT_KERNEL_SOURCES \"${hash}\"\n" @ONLY)
