//go:build linux

package nfqueue

import (
	"encoding/binary"
	"testing"

	"github.com/google/nftables/expr"
)

// A rule that drops or changes packets can stop a copy, unless it is for states
// of connection tracking that no copy is in.
func TestRulesThatCanStopACopy(t *testing.T) {
	state := func(mask uint32) []expr.Any {
		return []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		}
	}
	verdict := func(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
	const invalid, untracked = 1, 1 << 6
	for name, c := range map[string]struct {
		rule []expr.Any
		want bool
	}{
		"ct state invalid drop":           {join(state(invalid), verdict(expr.VerdictDrop)), false},
		"ct state invalid,untracked drop": {join(state(invalid|untracked), verdict(expr.VerdictDrop)), true},
		"ct state != established drop": {join([]expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, 2)},
		}, verdict(expr.VerdictDrop)), true},
		"tcp dport 9 counter accept": {join(tcpPort(destinationPort, 9), counter(), verdict(expr.VerdictAccept)), false},
		"tcp dport 9 drop":           {join(tcpPort(destinationPort, 9), verdict(expr.VerdictDrop)), true},
		"jump":                       {[]expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "other"}}, true},
		"meta mark set 1":            {setMark(1), true},
		"an iptables match":          {[]expr.Any{&expr.Match{Name: "conntrack"}}, true},
		"nothing":                    {nil, false},
	} {
		if got := canStopCopy(c.rule); got != c.want {
			t.Errorf("%s can stop a copy: %t, want %t", name, got, c.want)
		}
	}
}
