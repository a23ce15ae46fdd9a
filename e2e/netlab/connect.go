//go:build linux

package netlab

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

// Apart makes a host that no other one reaches, until the test ends.
func Apart(t testing.TB, name string) *Host {
	t.Helper()
	h, err := (&Lab{}).host(1, Spec{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.remove)
	return h
}

// Connect joins two hosts by one more link until the test ends. Its interface
// has the same name on both, and an address with the length of its net on each. A
// test may delete it before.
func Connect(t testing.TB, device string, a *Host, prefixA string, b *Host, prefixB string) {
	t.Helper()
	err := a.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: device, MTU: 1500}, PeerName: device, PeerNamespace: netlink.NsFd(b.namespace),
		}); err != nil {
			return err
		}
		return setUp(device, prefixA)
	})
	if err == nil {
		err = b.Do(func() error { return setUp(device, prefixB) })
	}
	if err != nil {
		t.Fatalf("connect %s and %s: %v", a.Name, b.Name, err)
	}
	t.Cleanup(func() {
		if err := a.Do(func() error {
			link, err := netlink.LinkByName(device)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				return nil // the test deleted it
			}
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		}); err != nil {
			t.Errorf("remove the link between %s and %s: %v", a.Name, b.Name, err)
		}
	})
}
