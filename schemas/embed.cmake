# cmake -DOUTPUT=FILE.c -DSOURCES=a.avsc;b.avsc -P embed.cmake: each file becomes a text constant
# `schema_<file>` in OUTPUT. Bytes are written as numbers, so nothing in them needs escaping.
set(text "/* Made from the .avsc files by schemas/embed.cmake. */\n#include \"schemas/records/embedded.h\"\n")
foreach(source IN LISTS SOURCES)
    get_filename_component(name ${source} NAME_WE)
    file(READ ${source} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND text "const char schema_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
