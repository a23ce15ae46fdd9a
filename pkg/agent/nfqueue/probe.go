//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// No packet meets this table or this queue.
const (
	probeTable = "tidelay-probe"
	probeQueue = 2334
)

// Probe returns nil if this kernel and this container can run the engine. It
// tries everything that the engine needs, in a table and a queue that no packet
// meets, and leaves nothing behind. The error wraps fault.ErrUnsupported and says
// what is missing and how to get it.
func Probe() error {
	if _, err := detect(); err != nil {
		return err
	}
	s, err := openSocket(receiveBuffer)
	if err == nil {
		err = errors.Join(s.request(bind(probeQueue, queueConfig{})), s.close())
	}
	if err != nil {
		return missing("packet queues", "nfnetlink_queue", err)
	}
	return nil
}

// features is what differs between kernels that can run the engine.
type features struct {
	families       []family
	queueStatement queueStatement
}

// detect tries what the engine needs of nftables. The error is that of Probe.
func detect() (features, error) {
	if err := listTables(); err != nil {
		return features{}, missing("nftables", "nf_tables", err)
	}
	detected := features{families: []family{ipv4}}
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		detected.families = append(detected.families, ipv6)
	}
	for _, f := range detected.families {
		if err := try(f, pass()); err != nil {
			return features{}, missing("nftables for "+familyName(f), "nf_tables", err)
		}
	}
	var err error
	if detected.queueStatement, err = detectQueueStatement(); err != nil {
		return features{}, err
	}
	for _, f := range detected.families {
		if err := try(f, duplicate(f == ipv6)); err != nil {
			return features{}, missing("dup statement for "+familyName(f), "nft_dup_ipv4 nft_dup_ipv6", err)
		}
	}
	return detected, nil
}

// listTables fails if the kernel has no nftables. Call it before any
// transaction, since such a kernel does not answer every request of one.
func listTables() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	_, err = conn.ListTables()
	return err
}

// detectQueueStatement returns the queue statement that this kernel knows.
func detectQueueStatement() (queueStatement, error) {
	native := try(ipv4, nativeQueue(probeQueue, true))
	if native == nil {
		return nativeQueue, nil
	}
	compat := try(ipv4, compatQueue(probeQueue, true))
	if compat == nil {
		return compatQueue, nil
	}
	return nil, missing("queue statement", "nft_queue", fmt.Errorf("%w; as an iptables target: %w", native, compat))
}

// try asks the kernel to accept a rule, in a chain without a hook. The same
// transaction adds and deletes the table, so that nothing stays even if this
// process is killed. When one request of a transaction fails, so do those after
// it; the first error says why.
func try(f family, exprs []expr.Any) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	table := conn.CreateTable(&nftables.Table{Name: probeTable, Family: f})
	chain := conn.AddChain(&nftables.Chain{Name: "probe", Table: table})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	conn.DelTable(table)
	err = conn.Flush()
	if first := unix.Errno(0); errors.As(err, &first) {
		return first
	}
	return err
}

// missing returns the error that tells a user why the engine can't run. modules
// are the kernel modules that would help.
func missing(what, modules string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("nfqueue engine: %w: the container lacks the capability NET_ADMIN: %w", fault.ErrUnsupported, err)
	}
	return fmt.Errorf("nfqueue engine: %w: this kernel has no %s; on the node run: modprobe -a %s: %w",
		fault.ErrUnsupported, what, modules, err)
}

func familyName(f family) string {
	if f == ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// answerTimeout is how long a connection of connect lasts. The kernel answers at
// once, but sometimes the library waits for more answers than there are.
const answerTimeout = 5 * time.Second

// connect opens a connection of the nftables library. Close it with CloseLasting.
func connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(time.Now().Add(answerTimeout))
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to nftables: %w", err)
	}
	return conn, nil
}
