//go:build linux

package nfqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iptables' own tables, which nftables does not list, in kernels that still have
// them (CONFIG_IP_NF_IPTABLES_LEGACY).

// iptablesInfo is struct ipt_getinfo, which is also ip6t_getinfo
// (include/uapi/linux/netfilter_ipv4/ip_tables.h). For each hook it has the place
// of the chain's first entry and that of its policy.
type iptablesInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	entries    uint32
	size       uint32
}

// iptablesHooks are the built-in chains that see leaving packets, with the number
// of their hook (NF_INET_LOCAL_OUT and NF_INET_POST_ROUTING).
func iptablesHooks() []iptablesHook { return []iptablesHook{{3, "OUTPUT"}, {4, "POSTROUTING"}} }

type iptablesHook struct {
	number int
	chain  string
}

// iptablesChains says which chains of iptables have rules that see leaving
// packets. NAT sees only packets that connection tracking knows.
func iptablesChains(f family) ([]string, error) {
	names, err := iptablesTables(f)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	domain := unix.AF_INET
	if f == ipv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var found []string
	for _, name := range names {
		info, err := readIptablesInfo(fd, f, name)
		if err != nil {
			return nil, err
		}
		for _, hook := range iptablesHooks() {
			if info.validHooks&(1<<hook.number) != 0 && info.hookEntry[hook.number] != info.underflow[hook.number] {
				found = append(found, fmt.Sprintf("chain %s of iptables' table %q can stop a copy", hook.chain, name))
			}
		}
	}
	return found, nil
}

// iptablesTables lists the tables of iptables that exist in the pod, less nat.
func iptablesTables(f family) ([]string, error) {
	path := "/proc/self/net/ip_tables_names"
	if f == ipv6 {
		path = "/proc/self/net/ip6_tables_names"
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list iptables' tables: %w", err)
	}
	names := strings.Fields(string(content))
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == "nat" }), nil
}

func readIptablesInfo(fd int, f family, table string) (iptablesInfo, error) {
	const getInfo = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	level := unix.SOL_IP
	if f == ipv6 {
		level = unix.SOL_IPV6
	}
	var info iptablesInfo
	copy(info.name[:], table)
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return iptablesInfo{}, fmt.Errorf("read iptables' table %q: %w", bytes.TrimRight(info.name[:], "\x00"), errno)
	}
	return info, nil
}
