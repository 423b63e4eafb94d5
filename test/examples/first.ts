import { ask } from 'etrn'

const { names, error } = await ask('mail.isp.example', ['site.example', '@sub.site.example'])
for (const { name, outcome, pending, text } of names) console.log(name, outcome, pending, text)
if (error !== null) console.error(error.stage, error.exitStatus, error.message)
