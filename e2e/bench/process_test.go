package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// process is an injector or a controller. Addresses are host:port on loopback.
type process struct {
	webhook, health, metrics string
	cmd                      *exec.Cmd
	log                      string // a file
	started                  time.Time
	ready                    time.Duration // from exec to /readyz
	stop                     func()
}

const kubeconfig = `{"apiVersion": "v1", "kind": "Config", "current-context": "fleet",
"clusters": [{"name": "fleet", "cluster": {"server": %q}}], "contexts": [{"name": "fleet", "context": {"cluster": "fleet"}}]}`

// startInjector starts $TIDELAY_INJECTOR with the API server at url, and waits
// until it is ready.
func startInjector(b *testing.B, url string) *process {
	b.Helper()
	webhook := freeAddress(b)
	_, port, _ := net.SplitHostPort(webhook)
	p := startProcess(b, "injector", fmt.Appendf(nil, kubeconfig, url), "--webhook-port="+port)
	p.webhook = webhook
	return p
}

// startProcess starts a program, which $TIDELAY_INJECTOR or $TIDELAY_CONTROLLER is, with
// a kubeconfig and with flags that are added, and waits until it is ready.
func startProcess(b *testing.B, program string, kubeconfig []byte, flags ...string) *process {
	b.Helper()
	variable := "TIDELAY_" + strings.ToUpper(program)
	binary := os.Getenv(variable)
	if binary == "" {
		b.Fatalf("%s is not set: run `make bench-%s`", variable, program)
	}
	dir := b.TempDir()
	config := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(config, kubeconfig, 0o600); err != nil {
		b.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	p := &process{health: freeAddress(b), metrics: freeAddress(b), log: log.Name()}
	p.cmd = exec.Command(binary, append([]string{
		"--agent-image=tidelay/agent:bench", "--namespace=" + SystemNamespace, "--kubeconfig=" + config,
		"--health-addr=" + p.health, "--metrics-addr=" + p.metrics,
	}, flags...)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), shippedEnvironment(b, program)...)
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(exited)
	}()
	p.stop = func() {
		_ = p.cmd.Process.Kill()
		<-exited
		log.Close()
	}
	b.Cleanup(p.stop)
	p.wait(b, 5*time.Minute, func() error {
		_, err := get(b.Context(), "http://"+p.health+"/readyz")
		return err
	})
	p.ready = time.Since(p.started)
	return p
}

// shippedEnvironment is what the Deployment of a program sets to a value, such as the Go
// runtime's memory limit.
func shippedEnvironment(b *testing.B, program string) []string {
	b.Helper()
	text, err := os.ReadFile("../../manifests/" + program + "/deployment.yaml")
	if err != nil {
		b.Fatal(err)
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &deployment); err != nil {
		b.Fatal(err)
	}
	var set []string
	for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
		if variable.ValueFrom == nil {
			set = append(set, variable.Name+"="+variable.Value)
		}
	}
	return set
}

// wait polls check; when it has not succeeded after limit, it shows the log.
func (p *process) wait(b *testing.B, limit time.Duration, check func() error) {
	b.Helper()
	p.waitEvery(b, 20*time.Millisecond, limit, check)
}

// waitEvery is wait with a time from one try to the next.
func (p *process) waitEvery(b *testing.B, interval, limit time.Duration, check func() error) {
	b.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(p.log)
			b.Fatalf("not within %s: %v\n%s", limit, err, text[max(0, len(text)-8192):])
		}
	}
}

// waitCollected waits until the garbage collector has run although there was
// nothing to do, which it does every two minutes.
func (p *process) waitCollected(b *testing.B) {
	b.Helper()
	const name = "go_memstats_last_gc_time_seconds"
	now := float64(time.Now().Add(time.Minute).Unix())
	p.wait(b, 5*time.Minute, func() error {
		if p.metric(b, name) < now {
			return errors.New("no garbage collection")
		}
		return nil
	})
}

// memory returns a line of /proc/PID/status in MB.
func (p *process) memory(b *testing.B, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	return number(b, string(status), name+":") * 1024 / 1e6
}

// metric returns the value of a metric without labels.
func (p *process) metric(b *testing.B, name string) float64 {
	b.Helper()
	text, err := get(b.Context(), "http://"+p.metrics+"/metrics")
	if err != nil {
		b.Fatal(err)
	}
	return number(b, text, name)
}

// number returns what stands behind name on its line.
func number(b *testing.B, text, name string) float64 {
	b.Helper()
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			n, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("no %s", name)
	return 0
}

// cpu returns the CPU time that the process has used.
func (p *process) cpu(b *testing.B) time.Duration {
	return time.Duration(p.metric(b, "process_cpu_seconds_total") * float64(time.Second))
}

func freeAddress(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// get returns the body of a 200 answer.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
