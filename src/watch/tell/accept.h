/*
 * The Accept header of a request: which form of the metrics does the client
 * want? Pure.
 */
#ifndef WATCH_TELL_ACCEPT_H
#define WATCH_TELL_ACCEPT_H

#include "watch/tell/metrics.h"

/*
 * OpenMetrics when application/openmetrics-text is named, in version 1.0.0 or
 * none, and is wanted at least as much as text/plain (RFC 9110, 12.5.1).
 * Otherwise, and where there is no header (NULL) or none that can be read, the
 * classic form: nobody is turned away.
 */
enum metrics_format accept_format(const char *value);

#endif
