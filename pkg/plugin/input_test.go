package plugin_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// silence is an input that nobody writes to. It tells of the first read, and ends only after so
// long that a reader who waits for it is found out.
type silence func()

func (s silence) Read([]byte) (int, error) {
	s()
	time.Sleep(5 * time.Second)
	return 0, io.EOF
}

// Ctrl-C ends a verb that waits for standard input.
func TestInputInterrupted(t *testing.T) {
	for _, line := range []string{"preview -f -", "topology basic --matrix -"} {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.follows = &genericiooptions.IOStreams{In: silence(cancel), Out: &bytes.Buffer{}, ErrOut: &w.errOut}
		if status := w.run(ctx, strings.Fields(line)...); status != 1 || w.errOut.String() != "error: interrupted\n" {
			t.Errorf("%s: exit status %d: %s", line, status, w.errOut.String())
		}
	}
}

// A preview needs no kubeconfig.
func TestPreviewWithoutKubeconfig(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("no: [kubeconfig"), 0o600); err != nil {
		t.Fatal(err)
	}
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: basic-tikv-0, labels: {app.kubernetes.io/instance: basic, app.kubernetes.io/component: tikv}}\nspec: {containers: [{name: tikv}]}\n"
	for _, kubeconfig := range []string{broken, broken + ".missing"} {
		for namespace, want := range map[string]string{
			"": "assumed: Pod basic-tikv-0: in namespace default, since nothing names another one\n", "prod": "assumed: TidbCluster prod/basic,",
		} {
			w := newWorld(t)
			w.in = pod
			if status := w.run(t.Context(), "preview", "-f", "-", "--kubeconfig", kubeconfig, "--namespace", namespace); status != 0 || !strings.Contains(w.errOut.String(), want) {
				t.Errorf("%s, namespace %q: exit status %d: %s", kubeconfig, namespace, status, w.errOut.String())
			}
			if strings.Contains(w.errOut.String(), "assumed: Pod basic-tikv-0: in namespace") != (namespace == "") {
				t.Errorf("namespace %q: %s", namespace, w.errOut.String())
			}
		}
	}
}
