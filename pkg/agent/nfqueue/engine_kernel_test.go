//go:build linux && kernel

package nfqueue

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/fault"
)

// A constant delay keeps the order of packets that come as fast as one socket
// sends, and so does a shorter one that takes its place meanwhile.
func TestKernelKeepsOrder(t *testing.T) {
	const count = 20_000
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(50 * time.Millisecond)
	end := udp(here, there, count, time.Second).Start()
	netlab.Eventually(t, time.Second, "packets wait", func() error {
		if c := a.counters(latency(50 * time.Millisecond)); c.Packets < count/20 {
			return fmt.Errorf("counters %+v", c)
		}
		return nil
	})
	a.set(20 * time.Millisecond)
	got, err := end()
	if err = errors.Join(err, got.Ordered()); err != nil {
		t.Error(err)
	}
	if early := a.counters(latency(20 * time.Millisecond)).Overlimits; early > 0 {
		t.Errorf("%d packets left early", early)
	}
}

// A connection's packets all leave, each once and all late, also when it is
// tracked and its addresses are translated.
func TestKernelConnection(t *testing.T) {
	const delay = 100 * time.Millisecond
	slack := 50*time.Millisecond + 4*machine.Lag
	for name, rules := range map[string]string{
		"plain": "",
		"translated": `table ip theirs {
			chain translate { type nat hook postrouting priority srcnat; snat to 10.99.0.99; }
			chain out { type filter hook output priority filter; ct state invalid drop; }
			chain in { type filter hook input priority filter; ct state != established drop; }
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			here.Exec(t, "ip addr add 10.99.0.99/24 dev "+device)
			if rules != "" {
				here.Shell(t, "nft '"+rules+"'")
			}
			a := here.start(t, fault.Exemption{})
			a.set(delay)
			address := there.Listen(t, net.JoinHostPort(there.IP, "0"), netlab.EchoTCP).String()
			netlab.Retry(t, "a connection", func() error {
				start := time.Now()
				c, err := here.Dial(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				connected := time.Since(start)
				const rounds = 5
				start = time.Now()
				for range rounds {
					if _, err := c.Write([]byte("hello")); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
						t.Fatal(err)
					}
				}
				exchanged := time.Since(start)
				if connected < delay || exchanged < rounds*delay {
					t.Errorf("connect takes %v and %d round trips %v under a delay of %v", connected, rounds, exchanged, delay)
				}
				if connected > delay+slack || exchanged > rounds*(delay+slack) {
					return fmt.Errorf("connect takes %v and %d round trips %v", connected, rounds, exchanged)
				}
				return nil
			})
			if out := here.Exec(t, "nstat -asz TcpRetransSegs"); !regexp.MustCompile(`TcpRetransSegs +0 `).MatchString(out) {
				t.Errorf("segments were sent again\n%s", out)
			}
			a.set(20 * time.Millisecond)
			address = there.Listen(t, net.JoinHostPort(there.IP, "0"), netlab.Swallow).String()
			netlab.Retry(t, "one TCP stream", func() error {
				if rate := here.StreamRate(t, address, time.Second, time.Second); rate < machine.Stream {
					return fmt.Errorf("%.0f Mbit/s, want at least %.0f", rate/1e6, machine.Stream/1e6)
				}
				return nil
			})
		})
	}
}
