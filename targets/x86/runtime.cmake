# What programs for x86-64 are linked with.
ingot_runtime(x86 x86_64-linux-gnu . /usr/lib/x86_64-linux-musl /usr/include/x86_64-linux-musl HERE)
