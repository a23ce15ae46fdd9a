package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin"
)

// ask runs a verb with the real client, at an API server that answers by handle.
func ask(t *testing.T, handle http.HandlerFunc, args ...string) (status int, said string) {
	t.Helper()
	server := httptest.NewServer(handle)
	url := server.URL
	if handle == nil {
		server.Close()
	} else {
		t.Cleanup(server.Close)
	}
	var out bytes.Buffer
	args = append([]string{"--kubeconfig", "/dev/null", "--server", url, "-n", "db"}, args...)
	status = plugin.Main(t.Context(), plugin.Surroundings{IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}}, args)
	return status, out.String()
}

// An API server that forbids, is gone, is slow, or is none: status says what is wrong, and
// nothing else.
func TestAPIServers(t *testing.T) {
	forbids := func(w http.ResponseWriter, r *http.Request) {
		status(http.StatusForbidden, "Forbidden", "no right: "+r.URL.Path)(w, r)
	}
	lacks := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/tidbclusters/basic") {
			status(http.StatusNotFound, "NotFound", "not found")(w, r)
			return
		}
		forbids(w, r)
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		args   []string
		status int
		says   string
	}{
		"forbids":                      {forbids, []string{"status", "basic"}, 1, "you may not read TidbClusters"},
		"forbids the list":             {forbids, []string{"status", "-A"}, 0, "you may not read pods"},
		"gone":                         {nil, []string{"status", "basic"}, 1, "connection refused"},
		"slow":                         {behaviour("hangs"), []string{"status", "basic", "--request-timeout=100ms"}, 1, "An answer took longer than --request-timeout=100ms."},
		"has no such TidbCluster":      {lacks, []string{"status", "basic"}, 1, "there is no TidbCluster basic in namespace db"},
		"gone, and all is to end":      {nil, []string{"clear", "--all"}, 1, "connection refused"},
		"gone, and one is to end":      {nil, []string{"clear", "slow", "--wait"}, 1, "it is not known whether there is a fault, topology or TidbCluster slow in namespace db, as told above: something may be in force"},
		"forbids, and all is to end":   {forbids, []string{"clear", "--all"}, 1, "something may still be in force"},
		"slow, and all is to end":      {behaviour("hangs"), []string{"clear", "--all", "--request-timeout=100ms"}, 1, "something may still be in force"},
		"answers what nobody can mean": {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") }, []string{"status", "basic"}, 1, "error: "},
	} {
		t.Run(name, func(t *testing.T) {
			if status, said := ask(t, test.handle, test.args...); status != test.status || !strings.Contains(said, test.says) {
				t.Errorf("exit status %d, want %d and %q:\n%s", status, test.status, test.says, said)
			}
		})
	}
}

// Who has no kubeconfig is told which one is missing, and not of a server that nobody has named.
func TestNoKubeconfig(t *testing.T) {
	file := t.TempDir() + "/none"
	t.Setenv("KUBECONFIG", file)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, verb := range []string{"status", "clear"} {
		var out bytes.Buffer
		streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}
		status := plugin.Main(t.Context(), plugin.Surroundings{IOStreams: streams}, []string{verb, "basic"})
		if want := "error: no kubeconfig: " + file + " is not there, or is empty; name one by --kubeconfig or KUBECONFIG\n"; status != 1 || out.String() != want {
			t.Errorf("%s: exit status %d: %s\nwant %s", verb, status, out.String(), want)
		}
	}
}

// The limit that ended a request is told: --request-timeout, or that of a write. That of a
// connection is its own.
func TestTheLimitThatEndedARequest(t *testing.T) {
	late := func(op string) error { return &url.Error{Op: op, URL: "https://api", Err: context.DeadlineExceeded} }
	noConnection := &url.Error{Op: "Post", URL: "https://api", Err: &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}}
	for name, test := range map[string]struct {
		err        error
		flag, says string
	}{
		"a short flag":               {late("Post"), "5s", "An answer took longer than --request-timeout=5s.\n"},
		"a long flag":                {late("Post"), "2m", "An answer took longer than 30s.\n"},
		"no flag":                    {late("Post"), "0", "An answer took longer than 30s.\n"},
		"no limit":                   {late("Post"), "0s", "An answer took longer than 30s.\n"},
		"a long flag, and a read":    {late("Get"), "2m", "An answer took longer than --request-timeout=2m.\n"},
		"no limit, and a read":       {late("Get"), "0s", ""},
		"no connection":              {noConnection, "2m", ""},
		"no connection and no limit": {noConnection, "0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.creating = func(client.Object) error { return test.err }
			status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--request-timeout="+test.flag)
			_, said, _ := strings.Cut(w.errOut.String(), "clear ends it\n")
			if status != 1 || said != test.says {
				t.Errorf("exit status %d: %s\nwant %q at the end", status, w.errOut.String(), test.says)
			}
		})
	}
}
