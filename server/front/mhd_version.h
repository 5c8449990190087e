/* SPDX-License-Identifier: Apache-2.0 */
/* Which libmicrohttpd this is, for those who do not use it. */
#ifndef VGW_SERVER_FRONT_MHD_VERSION_H
#define VGW_SERVER_FRONT_MHD_VERSION_H

const char *mhd_get_version(void);
/* What this version cannot refuse, in a sentence; NULL: nothing. */
const char *mhd_get_weakness(void);

#endif
