//go:build linux

package nfqueue

import (
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func TestContentHolds(t *testing.T) {
	encoded := func(exprs ...expr.Any) content {
		t.Helper()
		c, err := encode(ipv4, exprs)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var (
		load   = &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
		tcp    = &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{6}}
		udp    = &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{17}}
		notTCP = &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{6}}
		fresh  = &expr.Counter{}
		used   = &expr.Counter{Packets: 5, Bytes: 500}
		queue  = &expr.Queue{Num: 2340, Total: 1}
		bypass = &expr.Queue{Num: 2340, Total: 1, Flag: expr.QueueFlagBypass}
		here   = &expr.Dup{RegAddr: 1, RegDev: 2, IsRegDevSet: true}
		there  = &expr.Dup{RegAddr: 2, RegDev: 1, IsRegDevSet: true}
		hop    = &expr.Rt{Register: 1, Key: expr.RtNexthop4}
		hop6   = &expr.Rt{Register: 1, Key: expr.RtNexthop6}
	)
	want := encoded(load, tcp, fresh, hop, here, queue)
	for name, c := range map[string]struct {
		found content
		holds bool
	}{
		"the same":             {encoded(load, tcp, fresh, hop, here, queue), true},
		"what was counted":     {encoded(load, tcp, used, hop, here, queue), true},
		"another value":        {encoded(load, udp, fresh, hop, here, queue), false},
		"another operator":     {encoded(load, notTCP, fresh, hop, here, queue), false},
		"another flag":         {encoded(load, tcp, fresh, hop, here, bypass), false},
		"another dup":          {encoded(load, tcp, fresh, hop, there, queue), false},
		"another route":        {encoded(load, tcp, fresh, hop6, here, queue), false},
		"an expression less":   {encoded(load, tcp, fresh, hop, here), false},
		"an expression more":   {encoded(load, tcp, fresh, hop, here, queue, queue), false},
		"another order":        {encoded(tcp, load, fresh, hop, here, queue), false},
		"without a counter":    {encoded(load, tcp, hop, here, queue), false},
		"nothing":              {nil, false},
		"cut off":              {want[:len(want)-5], false},
		"an attribute more":    {withAttribute(want), true},
		"no attributes at all": {content{1, 0, 1, 0}, false},
	} {
		if got := c.found.holds(want); got != c.holds {
			t.Errorf("%s: %t, want %t", name, got, c.holds)
		}
	}
	if packets, bytes := encoded(load, used, queue, used).counted(); packets != 10 || bytes != 1000 {
		t.Errorf("counted %d packets, %d bytes", packets, bytes)
	}
}

// withAttribute adds an attribute to the data of each expression, as the kernel
// does.
func withAttribute(c content) content {
	var all content
	for _, one := range attributes(c) {
		data := appendUint32(findAttr(one, unix.NFTA_EXPR_DATA), 99, 1)
		named := appendAttr(nil, unix.NFTA_EXPR_NAME, findAttr(one, unix.NFTA_EXPR_NAME))
		all = appendAttr(all, unix.NFTA_LIST_ELEM, appendAttr(named, unix.NFTA_EXPR_DATA, data))
	}
	return all
}

func FuzzContentHolds(f *testing.F) {
	c, err := encode(ipv4, join(tcpPort(sourcePort, 1), counter(), setMark(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(c), []byte(c))
	f.Add([]byte{}, []byte{3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, found, want []byte) {
		content(found).holds(want)
		content(found).counted()
		if !c.holds(c) {
			t.Error("changed")
		}
	})
}
