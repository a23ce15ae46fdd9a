package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// echoes reads how many ICMP echo requests the kernel has received in this network.
func echoes() (any, error) {
	content, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return nil, err
	}
	received, err := counter(string(content), "Icmp:", "InEchos")
	return map[string]int{"received": received}, err
}

// counter finds a counter in the text of /proc/net/snmp: a line with a group's names is
// followed by a line with their values.
func counter(text, group, name string) (int, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != group:
		case names == nil:
			names = fields
		default:
			i := slices.Index(names, name)
			if i < 0 || i >= len(fields) {
				return 0, fmt.Errorf("no %s in %q", name, line)
			}
			return strconv.Atoi(fields[i])
		}
	}
	return 0, errors.New("no " + group)
}

// idLength is how long a container's ID is, in hex digits.
const idLength = 64

// signals are those that can be sent.
var signals = map[string]syscall.Signal{"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}

// signalContainer sends a signal to every process whose control group has the container's
// ID in its name. It needs to see the node's processes.
func signalContainer(name, container string) (any, error) {
	signal, ok := signals[name]
	if !ok {
		return nil, fmt.Errorf("signal %q: want KILL, STOP or CONT", name)
	}
	if len(container) < idLength {
		return nil, fmt.Errorf("want the whole ID of a container, %d digits", idLength)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	signalled := 0
	for _, file := range files {
		groups, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(groups, []byte(container)) {
			continue // a process that has ended, or another container's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		if err := syscall.Kill(pid, signal); err != nil {
			return nil, fmt.Errorf("signal process %d: %w", pid, err)
		}
		signalled++
	}
	if signalled == 0 {
		return nil, errors.New("it has no process here")
	}
	return map[string]int{"signalled": signalled}, nil
}
