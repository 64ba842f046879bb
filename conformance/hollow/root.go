package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

type mount struct{ From, To string }

// containerTask is what hollow tells itself when it starts as a container: to build the root folder that the
// program is to see, to join the Pod's network, and to become the program.
type containerTask struct {
	Root        string
	Sandbox     int // the process that holds the Pod's network; 0: the node's own
	Mounts      []mount
	Program     string
	Arguments   []string
	Environment []string
	Folder      string
}

// What a program that is not linked statically needs of the machine.
var ofTheMachine = []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ssl", "/etc/ld.so.cache", "/etc/passwd",
	"/etc/group", "/etc/nsswitch.conf", "/dev", "/proc", "/sys"}

func (t containerTask) start(output *log) (*exec.Cmd, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	defer writer.Close()
	process := exec.Command("/proc/self/exe")
	process.Args = []string{asContainer}
	process.Stdout, process.Stderr = output, output
	process.ExtraFiles = []*os.File{reader}
	process.WaitDelay = time.Second
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setpgid: true}
	if err := process.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(writer).Encode(t); err != nil {
		return nil, err
	}
	return process, nil
}

func containerMain() error {
	var task containerTask
	told := os.NewFile(3, "task")
	if err := json.NewDecoder(told).Decode(&task); err != nil {
		return err
	}
	_ = told.Close()
	// Before the root changes, since /proc/PID is read; on the thread that will become the program.
	if task.Sandbox != 0 {
		if err := join(task.Sandbox); err != nil {
			return err
		}
	}
	if err := task.buildRoot(); err != nil {
		return err
	}
	if err := syscall.Chroot(task.Root); err != nil {
		return err
	}
	if err := os.Chdir(filepath.Join("/", task.Folder)); err != nil {
		return err
	}
	program := "/" + filepath.Base(task.Program)
	return fmt.Errorf("%s: %w", task.Program,
		syscall.Exec(program, append([]string{program}, task.Arguments...), task.Environment))
}

func (t containerTask) buildRoot() error {
	if err := syscall.Mount("tmpfs", t.Root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("a root folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(t.Root, "tmp"), 0o777|os.ModeSticky); err != nil {
		return err
	}
	mounts := []mount{{From: t.Program, To: "/" + filepath.Base(t.Program)}}
	for _, path := range ofTheMachine {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if info.Mode()&os.ModeSymlink == 0 {
			mounts = append(mounts, mount{From: path, To: path})
			continue
		}
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(t.Root, path)); err != nil {
			return err
		}
	}
	for _, one := range append(mounts, t.Mounts...) {
		if err := bind(one.From, filepath.Join(t.Root, one.To)); err != nil {
			return fmt.Errorf("%s at %s: %w", one.From, one.To, err)
		}
	}
	return nil
}

// bind shows a file or folder at another path, which it makes.
func bind(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(to, os.O_CREATE, 0o644); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		return err
	}
	return syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, "")
}
