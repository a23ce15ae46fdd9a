package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// store keeps the desired set in a file, for the agent that follows this one
// after a crash or an image update. With an empty directory name it keeps
// nothing.
type store struct{ dir string }

// stateFile is the file's content.
type stateFile struct {
	Version int         `json:"version"`
	Faults  []api.Fault `json:"faults"`
	// Boot is the boot that the deadlines count from; see bootID.
	Boot      string           `json:"boot,omitempty"`
	Deadlines []storedDeadline `json:"deadlines,omitempty"`
}

// storedDeadline is fault.Fault.Deadline.
type storedDeadline struct {
	Fault     string `json:"fault"`
	SinceBoot int64  `json:"sinceBoot"` // nanoseconds
}

// stateVersion is raised when an agent of another version could misread the
// file.
const stateVersion = 1

// maxStateFile is in bytes, far above the size of the largest set.
const maxStateFile = 4 << 20

var (
	// errNoState reports that nothing was ever stored.
	errNoState = errors.New("no state stored")
	// errDamaged reports a file that no agent of this version wrote.
	errDamaged = errors.New("state file damaged")
)

func (s store) path() string { return filepath.Join(s.dir, "state.json") }

// save stores a set, so that after a crash of the process the file has the old
// one or the new.
func (s store) save(set Set, boot string) error {
	if s.dir == "" {
		return nil
	}
	content, err := encodeState(set, boot)
	if err != nil {
		return err
	}
	err = writeFile(s.path(), content)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
		err = writeFile(s.path(), content)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// saveInPlace is save for a set that is smaller than the one in the file, where
// the disk has no room for another file. A crash in between damages the file.
func (s store) saveInPlace(set Set, boot string) error {
	content, err := encodeState(set, boot)
	if err != nil {
		return err
	}
	if err := shrinkFile(s.path(), content); err != nil {
		return fmt.Errorf("overwrite state: %w", err)
	}
	return nil
}

func encodeState(set Set, boot string) ([]byte, error) {
	state := stateFile{Version: stateVersion, Faults: set.Wire, Boot: boot}
	for _, f := range set.Faults {
		if f.Deadline > 0 {
			state.Deadlines = append(state.Deadlines, storedDeadline{f.Name, f.Deadline.Nanoseconds()})
		}
	}
	content, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return padded(append(content, '\n')), nil
}

// load returns the stored set, including faults whose time is over. Deadlines of
// another boot are left out. The error is errNoState when nothing was stored. It
// is errDamaged when the file can't be understood; the file was then renamed, so
// that nothing overwrites it.
func (s store) load(boot string) ([]fault.Fault, error) {
	if s.dir == "" {
		return nil, errNoState
	}
	info, err := os.Stat(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoState
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, s.setAside(errors.New("no regular file"))
	}
	if info.Size() > maxStateFile {
		return nil, s.setAside(fmt.Errorf("%d bytes, want at most %d", info.Size(), maxStateFile))
	}
	content, err := os.ReadFile(s.path())
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	faults, err := decodeState(content, boot)
	if err != nil {
		return nil, s.setAside(err)
	}
	return faults, nil
}

// setAside renames a damaged file and returns errDamaged with the cause and the
// file's new name.
func (s store) setAside(cause error) error {
	aside := fmt.Sprintf("%s.damaged-%s", s.path(), time.Now().UTC().Format("20060102T150405.000"))
	return errors.Join(fmt.Errorf("%w: %w, set aside as %s", errDamaged, cause, aside), os.Rename(s.path(), aside))
}

// decodeState reads what save wrote.
func decodeState(content []byte, boot string) ([]fault.Fault, error) {
	var state stateFile
	if err := fault.Decode(content, &state); err != nil {
		return nil, err
	}
	if state.Version != stateVersion {
		return nil, fmt.Errorf("version %d, want %d", state.Version, stateVersion)
	}
	faults, err := fault.ParseSet(state.Faults, fault.Limits{Stored: true})
	if err != nil || boot == "" || state.Boot != boot {
		return faults, err
	}
	for _, d := range state.Deadlines {
		if f := fault.Find(faults, d.Fault); f != nil {
			f.Deadline = time.Duration(d.SinceBoot)
		}
	}
	return faults, nil
}
