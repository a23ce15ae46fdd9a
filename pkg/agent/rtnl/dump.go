package rtnl

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpAttempts bounds how often Dump tries. Each interruption means that the
// kernel's tables changed during one dump, so ten in a row are very unlikely.
const dumpAttempts = 10

// Dump calls list until the kernel answers with one consistent dump. When the
// kernel's tables change during a dump, entries may be missing, and the kernel
// marks the dump with NLM_F_DUMP_INTR. After ten such dumps the error is
// netlink.ErrDumpInterrupted.
func Dump[T any](list func() ([]T, error)) ([]T, error) {
	var err error
	for range dumpAttempts {
		var all []T
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return nil, err
}
