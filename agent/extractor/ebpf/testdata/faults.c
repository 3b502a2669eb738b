/*
 * Fires tracepoints of Bitcoin Core with arguments that a node never has, once for each
 * line on standard input: pointers that lead nowhere, and numbers below zero.
 */
#include <stdint.h>
#include <stdio.h>

#define SDT_USE_VARIADIC 1
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#define SEMAPHORE(provider, name) \
	__extension__ unsigned short provider##_##name##_semaphore __attribute__((section(".probes")))

SEMAPHORE(net, inbound_message);
SEMAPHORE(net, misbehaving_connection);
SEMAPHORE(mempool, added);
SEMAPHORE(validation, block_connected);

int main(void)
{
	static const unsigned char hash[32] = {1, 2, 3};
	const char *nowhere = (const char *)16;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while ((c = getchar()) != EOF) {
		if (c != '\n')
			continue;
		STAP_PROBEV(net, inbound_message, (int64_t)-1, nowhere, nowhere, nowhere, (uint64_t)5, "hello");
		STAP_PROBEV(net, inbound_message, (int64_t)-2, "192.0.2.1:8333", "inbound", "ping", (uint64_t)8, nowhere);
		STAP_PROBEV(net, misbehaving_connection, (int64_t)-3, nowhere);
		STAP_PROBEV(mempool, added, nowhere, (int32_t)-5, (int64_t)-7);
		STAP_PROBEV(validation, block_connected, hash, (int32_t)-1, (uint64_t)2, (int32_t)-3, (uint64_t)4,
			    (int64_t)-6);
		puts("fired");
	}
	return 0;
}
