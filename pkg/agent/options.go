package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Options is what an agent is started with, as the flags of cmd/agent give it.
type Options struct {
	// Listen is the address of the HTTP API, host:port or :port. Its port is
	// the control port that no fault touches.
	Listen string
	// Device names the interfaces whose packets meet faults, comma-separated, or
	// is "all" for all that are up and not loopback. Empty is the interfaces of the
	// default route, else the only one that is not loopback.
	Device string
	// Engine is "auto", "netem" or "nfqueue". A named engine is never replaced
	// by the other one.
	Engine string
	// StateDir is where the desired state is kept for the next agent; empty to
	// rely on the kernel alone.
	StateDir string
	// NodeIP has the node's IP addresses and ProbePorts the TCP ports that
	// kubelet probes, both comma-separated. If either is empty, probes are not
	// exempt.
	NodeIP, ProbePorts string
	// EnvNodeIP and EnvProbePorts are $NODE_IP and $PROBE_PORTS, which count where
	// NodeIP and ProbePorts are empty. No person types them in a pod, so what is not
	// valid in them is left out with a warning.
	EnvNodeIP, EnvProbePorts string
	// EnvPodUID is $POD_UID, the UID of the agent's pod. Requests for another pod are
	// refused. If it is empty or not valid, the UID is not known, and they are not.
	EnvPodUID string
	// MaxDuration caps the duration of every fault, and is that of a fault that
	// names none; 0 for no cap, else from fault.MinDuration to fault.MaxDuration.
	MaxDuration time.Duration
	// QueueMemory is the memory for packets that wait in one fault's queue, in
	// bytes with a unit, "256Mi"; from 1Mi to 64Gi.
	QueueMemory string
	// TokenFile has the bearer token that every route but health then asks
	// for; empty for none. It is read at every request.
	TokenFile string
	// ReadOnly refuses every change.
	ReadOnly bool
	// Version is what /v1/status reports.
	Version string
}

// parsed is Options after validation.
type parsed struct {
	controlPort uint16
	nodeAddrs   []netip.Addr
	probePorts  []uint16
	podUID      string // empty if it is not known
	queueMemory uint64
	// warnings name what was left out.
	warnings []string
}

// parse reports every bad option at once, each with its flag, its value and
// what is accepted.
func (o Options) parse() (parsed, error) {
	var p parsed
	var errs []error
	_, port, err := net.SplitHostPort(o.Listen)
	if err == nil {
		p.controlPort, err = parsePort(port)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("--listen=%q: %w; want host:port or :port with a port from 1 to 65535", o.Listen, err))
	}
	if engines := []string{api.EngineAuto, api.EngineNetem, api.EngineNFQueue}; !slices.Contains(engines, o.Engine) {
		errs = append(errs, fmt.Errorf("--engine=%q: want one of %s", o.Engine, strings.Join(engines, ", ")))
	}
	var bad []error
	p.nodeAddrs, bad = parseList("--node-ip", o.NodeIP, "NODE_IP", o.EnvNodeIP, "addresses", parseAddr, &p.warnings)
	errs = append(errs, bad...)
	p.probePorts, bad = parseList("--probe-ports", o.ProbePorts, "PROBE_PORTS", o.EnvProbePorts, "ports from 1 to 65535", parsePort, &p.warnings)
	errs = append(errs, bad...)
	slices.Sort(p.probePorts)
	p.probePorts = slices.Compact(p.probePorts)
	p.podUID = parsePodUID(o.EnvPodUID, &p.warnings)
	if o.MaxDuration != 0 && (o.MaxDuration < fault.MinDuration || o.MaxDuration > fault.MaxDuration) {
		errs = append(errs, fmt.Errorf("--max-duration=%s: want 0 for no cap, or from %s to %s", o.MaxDuration, fault.MinDuration, fault.MaxDuration))
	}
	if p.queueMemory, err = parseMemory(o.QueueMemory); err != nil {
		errs = append(errs, fmt.Errorf("--queue-memory=%q: %w", o.QueueMemory, err))
	}
	return p, errors.Join(errs...)
}

// parseList reads a comma-separated list from a flag, or if that is empty from an
// environment variable. What is bad in the flag is an error for each item. What is
// bad in the variable is left out, with a warning.
func parseList[T any](flag, value, variable, fromEnv, accepted string, parse func(string) (T, error), warnings *[]string) ([]T, []error) {
	name, ofEnv := flag, strings.TrimSpace(value) == ""
	if ofEnv {
		name, value = variable, fromEnv
	}
	var items []T
	var errs []error
	for _, text := range list(value) {
		item, err := parse(text)
		switch {
		case err == nil:
			items = append(items, item)
		case ofEnv:
			*warnings = append(*warnings, fmt.Sprintf("$%s=%q: %v, and is left out; want comma-separated %s, or nothing", name, value, err, accepted))
		default:
			errs = append(errs, fmt.Errorf("%s=%q: %w; want comma-separated %s, or nothing", name, value, err, accepted))
		}
	}
	return items, errs
}

// parsePodUID reads $POD_UID. It returns "" with a warning if that is not valid.
func parsePodUID(fromEnv string, warnings *[]string) string {
	uid := strings.TrimSpace(fromEnv)
	if uid == "" || api.IsPodUID(uid) {
		return uid
	}
	*warnings = append(*warnings, fmt.Sprintf("$POD_UID=%q is left out; %s, or nothing", api.Shorten(uid), api.PodUIDAccepted))
	return ""
}

func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is no IP address", s)
	}
	return addr.Unmap(), nil
}

func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(port), nil
}

var memoryPattern = regexp.MustCompile(`^([0-9]{1,9})(Ki|Mi|Gi)$`)

// parseMemory reads a number of bytes in Kubernetes' notation.
func parseMemory(s string) (uint64, error) {
	const least, most = 1 << 20, 64 << 30
	match := memoryPattern.FindStringSubmatch(s)
	if match == nil {
		return 0, errors.New(`want a whole number with the unit Ki, Mi or Gi ("256Mi"), from 1Mi to 64Gi`)
	}
	number, err := strconv.ParseUint(match[1], 10, 64)
	bytes := number << map[string]int{"Ki": 10, "Mi": 20, "Gi": 30}[match[2]]
	if err != nil || bytes < least || bytes > most {
		return 0, errors.New("want from 1Mi to 64Gi")
	}
	return bytes, nil
}

// list splits a comma-separated list; an empty string is an empty list.
func list(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}
