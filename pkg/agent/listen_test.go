package agent

import (
	"fmt"
	"testing"
)

func TestListenAddresses(t *testing.T) {
	both := "[tcp4 :2332 tcp6 :2332]"
	for listen, want := range map[string]string{
		":2332": both, "0.0.0.0:2332": both, "[::]:2332": both,
		"127.0.0.1:2332": "[tcp 127.0.0.1:2332]", "[::1]:2332": "[tcp [::1]:2332]", "localhost:2332": "[tcp localhost:2332]",
	} {
		if got := fmt.Sprint(listenAddresses(listen)); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
