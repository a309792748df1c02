/* embedded: the texts of the .avsc files, put into the binary at build time (schemas/embed.cmake).
 */
#ifndef SCHEMAS_RECORDS_EMBEDDED_H
#define SCHEMAS_RECORDS_EMBEDDED_H

extern const char schema_inference_request[];
extern const char schema_inference_response[];
extern const char schema_comparison[];
extern const char schema_control[];

#endif
