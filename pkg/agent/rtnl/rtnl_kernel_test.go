//go:build kernel

package rtnl_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// Each case is a script that makes default routes in a namespace with the links
// eth0 and net1.
func TestDefaultRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		script   string
		devices  string
		gateways []string
	}{
		"one":                       {"ip route add default via 10.0.0.1", "eth0", []string{"10.0.0.1"}},
		"on the link":               {"ip route add default dev net1", "net1", nil},
		"IPv6":                      {"ip -6 route add default via fd00::1", "eth0", []string{"fd00::1"}},
		"IPv4 before IPv6":          {"ip -6 route add default via fd00::1; ip route add default via 10.1.0.1", "net1", []string{"10.1.0.1", "fd00::1"}},
		"multipath":                 {"ip route add default nexthop via 10.0.0.1 dev eth0 nexthop via 10.1.0.1 dev net1", "eth0,net1", []string{"10.0.0.1", "10.1.0.1"}},
		"multipath, IPv6":           {"ip -6 route add default nexthop via fd00::1 dev eth0 nexthop via fd01::1 dev net1", "eth0,net1", []string{"fd00::1", "fd01::1"}},
		"multipath, one link":       {"ip route add default nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.3 dev eth0", "eth0", []string{"10.0.0.1", "10.0.0.3"}},
		"metrics":                   {"ip route add default via 10.1.0.1 metric 200; ip route add default via 10.0.0.1 metric 100", "eth0", []string{"10.0.0.1", "10.1.0.1"}},
		"another table":             {"ip route add default via 10.1.0.1 table 100", "net1", []string{"10.1.0.1"}},
		"a table beside main":       {"ip route add default via 10.1.0.1 table 100; ip route add default via 10.0.0.1", "eth0", []string{"10.0.0.1", "10.1.0.1"}},
		"a table of a large number": {"ip route add default via 10.1.0.1 table 1000; ip route add default via 10.0.0.1", "eth0", []string{"10.0.0.1", "10.1.0.1"}},
		"a gateway of IPv6":         {"ip route add default via inet6 fd00::1 dev eth0", "eth0", []string{"fd00::1"}},
		"the same twice":            {"ip route add default via 10.0.0.1 metric 1; ip route add default via 10.0.0.1 metric 2", "eth0", []string{"10.0.0.1"}},
		"beside a blackhole":        {"ip route add blackhole default metric 1; ip route add default via 10.1.0.1 metric 2", "net1", []string{"10.1.0.1"}},
		"an object":                 {"ip nexthop add id 1 via 10.1.0.1 dev net1; ip route add default nhid 1", "net1", []string{"10.1.0.1"}},
		"a group":                   {groups + "ip route add default nhid 10", "eth0,net1", []string{"10.0.0.1", "10.1.0.1"}},
		"a group, IPv6":             {groups + "ip -6 route add default nhid 11", "eth0,net1", []string{"fd00::1", "fd01::1"}},
		"objects without compatibility": {
			"sysctl -qw net.ipv4.nexthop_compat_mode=0;" + groups + "ip route add default nhid 10; ip -6 route add default nhid 3 metric 7", "eth0,net1",
			[]string{"10.0.0.1", "10.1.0.1", "fd00::1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod, peer := netlab.Apart(t, "pod"), netlab.Apart(t, "peer")
			for i, device := range []string{"eth0", "net1"} {
				netlab.Connect(t, device, pod, fmt.Sprintf("10.%d.0.2/24", i), peer, fmt.Sprintf("10.%d.0.1/24", i))
				pod.Exec(t, fmt.Sprintf("ip addr add fd0%d::2/64 dev %s nodad", i, device))
			}
			pod.Shell(t, c.script)
			var gateways []netip.Addr
			for _, text := range c.gateways {
				gateways = append(gateways, netip.MustParseAddr(text))
			}
			if err := pod.Do(func() error {
				found, err := rtnl.NewFollower("").Read()
				if err != nil || strings.Join(api.DeviceNames(found.Devices), ",") != c.devices {
					t.Errorf("devices %v, %v; want %s", found.Devices, err, c.devices)
				}
				if !slices.Equal(found.Gateways, gateways) {
					t.Errorf("gateways %v, want %v", found.Gateways, gateways)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

const groups = "ip nexthop add id 1 via 10.0.0.1 dev eth0; ip nexthop add id 2 via 10.1.0.1 dev net1; ip nexthop add id 10 group 1/2;" +
	"ip -6 nexthop add id 3 via fd00::1 dev eth0; ip -6 nexthop add id 4 via fd01::1 dev net1; ip nexthop add id 11 group 3/4;"

func TestDeviceTo(t *testing.T) {
	pod, peer := netlab.Apart(t, "pod"), netlab.Apart(t, "peer")
	for i, device := range []string{"eth0", "net1"} {
		netlab.Connect(t, device, pod, fmt.Sprintf("10.%d.0.2/24", i), peer, fmt.Sprintf("10.%d.0.1/24", i))
		pod.Exec(t, fmt.Sprintf("ip addr add fd0%d::2/64 dev %s nodad", i, device))
	}
	for to, want := range map[string]string{"10.0.0.1": "eth0", "10.1.0.1": "net1", "fd01::1": "net1", "fd00::9": "eth0", "127.0.0.1": "lo", "192.0.2.1": ""} {
		if err := pod.Do(func() error {
			got, err := rtnl.DeviceTo(netip.MustParseAddr(to))
			if got != want || (err != nil) != (want == "") {
				t.Errorf("to %s: %q, %v; want %q", to, got, err, want)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}
