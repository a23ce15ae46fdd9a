package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestConnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := listener.Addr().String()
	got, err := measure(t.Context(), plan{3, 50 * time.Millisecond, time.Second}, []string{target})
	if err != nil || got[target].Sent != 3 || len(got[target].RTTs) != 3 {
		t.Errorf("with a listener: %+v, %v", got, err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got, err = measure(t.Context(), plan{3, 50 * time.Millisecond, time.Second}, []string{target})
	if err != nil || got[target].Sent != 3 || len(got[target].RTTs) != 0 {
		t.Errorf("without one: %+v, %v, want 3 lost", got, err)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"ping"}, {"rtt", "1s", "50ms", "0", "127.0.0.1"}, {"rtt", "1", "50ms", "1", "127.0.0.1"}, {"rtt", "1s", "0s", "1", "127.0.0.1"}, {"rtt", "1s", "5", "1", "127.0.0.1"}, {"rtt", "1s", "5ms", "1"}, {"signal", "KILL", ""}, {"signal", "KILL", strings.Repeat("f", idLength)}, {"signal", "HUP", strings.Repeat("f", idLength)}} {
		if got, err := answer(t.Context(), args); err == nil {
			t.Errorf("%q: %v, want an error", args, got)
		}
	}
}

func TestCounter(t *testing.T) {
	const text = "Ip: Forwarding InReceives\nIp: 1 9\nIcmp: InMsgs InEchos OutEchos\nIcmp: 12 7 5\nIcmpMsg: InType8\nIcmpMsg: 7\n"
	if got, err := counter(text, "Icmp:", "InEchos"); err != nil || got != 7 {
		t.Errorf("InEchos %d, %v, want 7", got, err)
	}
	if got, err := counter(text, "Icmp:", "InPigeons"); err == nil {
		t.Errorf("InPigeons %d, want an error", got)
	}
	if got, err := counter(text, "Udp:", "InDatagrams"); err == nil {
		t.Errorf("a group that is not there: %d, want an error", got)
	}
	if _, err := echoes(); err != nil {
		t.Errorf("on this machine: %v", err)
	}
}
