//go:build linux

package nfqueue

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestMissingSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a module":     {unix.ENOENT, "this kernel has no dup statement; on the node run: modprobe -a nft_dup_ipv4: no such file or directory"},
		"a capability": {unix.EPERM, "the container lacks the capability NET_ADMIN"},
	} {
		t.Run(name, func(t *testing.T) {
			err := missing("dup statement", "nft_dup_ipv4", c.err)
			if !errors.Is(err, fault.ErrUnsupported) || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
