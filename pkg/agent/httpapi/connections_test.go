package httpapi

import (
	"io"
	"net"
	"testing"
	"time"
)

// An answer is not cut because the agent takes long between two parts of it. It is
// when the client does not read.
func TestAClientThatTookAllIsNotSlow(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := connections{Listener: listener, pool: newPool(1)}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c := accepted.(*connection)
	place := newPool(1).join(address(client.LocalAddr().String()), 0, nil)
	members := map[string]*member{"request": place, "connection": c.member}
	c.works(place)
	want := func(what string, slow bool) {
		t.Helper()
		for name, m := range members {
			m.waiting.Store(&time.Time{}) // for long
			for end := time.Now().Add(5 * time.Second); m.isSlow() != slow; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s: the client of the %s is slow: %t", what, name, !slow)
					break
				}
			}
		}
	}
	if _, err := c.Write([]byte("part")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	want("all is read", false)

	written := make(chan struct{})
	go func() {
		_, _ = c.Write(make([]byte, 64<<20)) // more than both buffers have room for
		close(written)
	}()
	want("nobody reads", true)
	_ = client.Close()
	<-written
}
