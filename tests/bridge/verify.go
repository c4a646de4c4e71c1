// Verifies servers as a client, or clients as a server, by Go's crypto/tls, as all programs of
// Kubernetes do. It reads its task as JSON, and answers with a line of JSON. As servers it runs
// until its input ends.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

type task struct {
	// As a client: the files of the known roots, and the ports of the servers.
	Asked [][2]any `json:"asked"`
	// As servers: the directories of their own files, and the files of the known roots.
	Known [][2]string `json:"known"`
	// Seconds for one connection.
	Limit int `json:"limit"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func pool(file string) *x509.CertPool {
	pem, err := os.ReadFile(file)
	check(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		panic(file)
	}
	return pool
}

func accepts(known string, port float64, limit time.Duration) bool {
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}
	dialer := net.Dialer{Timeout: limit}
	config := tls.Config{RootCAs: pool(known)}
	connection, err := tls.DialWithDialer(&dialer, "tcp", address.String(), &config)
	var refused x509.UnknownAuthorityError
	if errors.As(err, &refused) {
		return false
	}
	check(err)
	check(connection.Close())
	return true
}

func serve(files, known string, limit time.Duration) int {
	own, err := tls.LoadX509KeyPair(files+"/server.crt", files+"/server.key")
	check(err)
	config := tls.Config{
		Certificates: []tls.Certificate{own},
		ClientCAs:    pool(known),
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &config)
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go answer(connection, limit)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// A client that is refused breaks the connection.
func answer(connection net.Conn, limit time.Duration) {
	defer connection.Close()
	check(connection.SetDeadline(time.Now().Add(limit)))
	if _, err := connection.Read(make([]byte, 65536)); err == nil {
		connection.Write([]byte("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
	}
}

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	check(err)
	var given task
	check(json.Unmarshal(line, &given))
	limit := time.Duration(given.Limit) * time.Second
	verdicts, ports := []bool{}, []int{}
	for _, one := range given.Asked {
		verdicts = append(verdicts, accepts(one[0].(string), one[1].(float64), limit))
	}
	for _, one := range given.Known {
		ports = append(ports, serve(one[0], one[1], limit))
	}
	if given.Asked != nil {
		check(json.NewEncoder(os.Stdout).Encode(verdicts))
	} else {
		check(json.NewEncoder(os.Stdout).Encode(ports))
		io.Copy(io.Discard, input)
	}
}
