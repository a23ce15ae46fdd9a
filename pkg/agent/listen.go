package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

// listenAddress is where to listen, as net.Listen takes it.
type listenAddress struct{ network, address string }

func (a listenAddress) String() string { return a.network + " " + a.address }

// listenAddresses returns where to listen for --listen. On all addresses that is
// IPv4 and IPv6, each by itself: a process that has the port in one family takes
// only that one away.
func listenAddresses(listen string) []listenAddress {
	host, port, err := net.SplitHostPort(listen)
	addr, notAddr := netip.ParseAddr(host)
	if err != nil || host != "" && (notAddr != nil || !addr.IsUnspecified()) {
		return []listenAddress{{"tcp", listen}}
	}
	return []listenAddress{{"tcp4", ":" + port}, {"tcp6", ":" + port}}
}

// serve listens and answers requests until ctx ends or the listener fails. It
// returns nil at once if the kernel does not have the address family.
func serve(ctx context.Context, a listenAddress, server *httpapi.Server, works func()) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, a.network, a.address)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT) && a.network != "tcp":
		return nil
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("another process has the port: %w", err)
	case err != nil:
		return fmt.Errorf("listen: %w", err)
	}
	works()
	return server.Serve(ctx, listener)
}
