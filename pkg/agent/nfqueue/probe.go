//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// No packet ever comes by these.
const (
	probeTable = "tidelay-probe"
	probeQueue = 2334
)

// Probe reports whether this kernel and this container can run the engine. It
// tries everything the engine needs where no packet comes by, and leaves
// nothing behind. The error wraps fault.ErrUnsupported and says what is
// missing and how to get it.
func Probe() error {
	if _, err := detect(); err != nil {
		return err
	}
	s, err := openSocket()
	if err == nil {
		q := newScheduler(s)
		err = errors.Join(q.request(bind(probeQueue, 0, false)), s.close())
	}
	if err != nil {
		return missing("packet queues", "nfnetlink_queue", err)
	}
	return nil
}

// features is where kernels that can run the engine differ.
type features struct {
	families []family
	enqueue  enqueue
}

// detect finds out what the kernel has.
func detect() (features, error) {
	if err := listTables(); err != nil {
		return features{}, missing("nftables", "nf_tables", err)
	}
	has := features{families: []family{ipv4}}
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		has.families = append(has.families, ipv6)
	}
	for _, f := range has.families {
		if err := try(f, pass()); err != nil {
			return features{}, missing("nftables for "+familyName(f), "nf_tables", err)
		}
	}
	var err error
	if has.enqueue, err = detectEnqueue(); err != nil {
		return features{}, err
	}
	for _, f := range has.families {
		if err := try(f, duplicate(f == ipv6)); err != nil {
			return features{}, missing("dup statement for "+familyName(f), "nft_dup_ipv4 nft_dup_ipv6", err)
		}
	}
	return has, nil
}

// listTables asks for nothing in particular. It comes before any transaction
// because to those a kernel without nftables does not answer in full.
func listTables() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	_, err = conn.ListTables()
	return err
}

// detectEnqueue finds out which way this kernel knows to queue a packet.
func detectEnqueue() (enqueue, error) {
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

// try asks the kernel for a rule in a chain that is not hooked up anywhere. One
// transaction adds and deletes it, so that nothing stays even if we die. When
// one step fails so do those after it; the first error says why.
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

// missing says in a user's words why the engine can't run.
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
