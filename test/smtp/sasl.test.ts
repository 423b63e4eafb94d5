import { suite } from 'node:test'
import { base64, testFailure, testSuccess } from './sasl-dialogue.js'

suite('the lines of a mechanism', () => {
  testSuccess(
    'PLAIN sends user and password at once (RFC 4616)',
    [[`AUTH PLAIN ${base64('\0site\0secret')}`, '235 ok']],
    {
      mechanism: 'PLAIN',
    },
  )
  testSuccess(
    'LOGIN sends the user, then the password',
    [
      ['AUTH LOGIN', '334 VXNlcm5hbWU6'],
      [base64('site'), '334 UGFzc3dvcmQ6'],
      [base64('secret'), '235 ok'],
    ],
    { mechanism: 'LOGIN' },
  )
  testSuccess(
    'CRAM-MD5 sends the digest of the example in RFC 2195',
    [
      ['AUTH CRAM-MD5', `334 ${base64('<1896.697170952@postoffice.reston.mci.net>')}`],
      ['dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw', '235 ok'],
    ],
    { mechanism: 'CRAM-MD5', user: 'tim', password: 'tanstaaftanstaaf' },
  )
  testSuccess(
    'EXTERNAL without a user sends "=", an empty response (RFC 4954)',
    [['AUTH EXTERNAL =', '235 ok']],
    { mechanism: 'EXTERNAL', user: '' },
    { hasCertificate: true },
  )
  testSuccess(
    'EXTERNAL with a user sends the user',
    [[`AUTH EXTERNAL ${base64('site')}`, '235 ok']],
    { mechanism: 'EXTERNAL' },
    { hasCertificate: true },
  )
  testSuccess(
    'XOAUTH2 sends user and token',
    [[`AUTH XOAUTH2 ${base64('user=site\x01auth=Bearer secret\x01\x01')}`, '235 ok']],
    { mechanism: 'XOAUTH2' },
  )
  testFailure(
    'XOAUTH2 answers an error challenge with an empty line and fails with 77',
    [
      [/^AUTH XOAUTH2 /, `334 ${base64('{"status":"401"}')}`],
      ['', '535 5.7.8 no'],
    ],
    { mechanism: 'XOAUTH2' },
    77,
    /^535 5\.7\.8 no$/,
  )
  testSuccess(
    'OAUTHBEARER sends the escaped user, host, port and token (RFC 7628)',
    [
      [
        `AUTH OAUTHBEARER ${base64('n,a=si=2Cte,\x01host=mx.example\x01port=25\x01auth=Bearer secret\x01\x01')}`,
        '235 ok',
      ],
    ],
    { mechanism: 'OAUTHBEARER', user: 'si,te' },
  )
  testSuccess(
    'OAUTHBEARER escapes an equals sign and every comma of the user',
    [
      [
        `AUTH OAUTHBEARER ${base64('n,a=a=2Cb=3D=2Cc,\x01host=mx.example\x01port=25\x01auth=Bearer secret\x01\x01')}`,
        '235 ok',
      ],
    ],
    { mechanism: 'OAUTHBEARER', user: 'a,b=,c' },
  )
  testFailure(
    'OAUTHBEARER answers an error challenge with a separator and fails with 77',
    [
      [/^AUTH OAUTHBEARER /, `334 ${base64('{}')}`],
      ['AQ==', '535 no'],
    ],
    { mechanism: 'OAUTHBEARER' },
    77,
    /^535 no$/,
  )
})
